"""Any call gives a right result, or an error that names the argument. ``MTLUE_FUZZ`` is the number of calls."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings

from fuzzing import VERDICTS, verdict
from fuzzing_cases import Case, cases, wrong_targets
from mtlue import Classification

COUNT = int(os.environ.get("MTLUE_FUZZ", "200"))


@pytest.fixture(scope="module", autouse=True)
def _report() -> Iterator[None]:
    yield
    if "MTLUE_FUZZ_REPORT" in os.environ:
        Path(os.environ["MTLUE_FUZZ_REPORT"]).write_text(json.dumps(dict(VERDICTS)))


@pytest.mark.parametrize("length", [1, 2])
def test_wrong_targets_are_refused_where_no_task_is_told(length: int) -> None:
    samples: list[Any] = [(torch.zeros(1, 1, 1), {"t0": 0})] * length
    case = Case("infer", samples, {"t0": Classification(1)}, True, "dict", {}, 0, ["targets"])
    for targets in wrong_targets(case):
        assert verdict(replace(case, samples=[*samples[1:], (samples[0][0], targets)])) != "right"


@seed(int(os.environ.get("MTLUE_FUZZ_SEED", "0")))
@settings(max_examples=COUNT, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_any_call(case: Case) -> None:
    VERDICTS[verdict(case)] += 1

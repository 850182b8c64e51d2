"""Any call gives a right result, or an error that names the argument. ``MTLUE_FUZZ`` is the number of calls."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings

from fuzzing import VERDICTS, verdict
from fuzzing_cases import Case, cases

COUNT = int(os.environ.get("MTLUE_FUZZ", "200"))


@pytest.fixture(scope="module", autouse=True)
def _report() -> Iterator[None]:
    yield
    if "MTLUE_FUZZ_REPORT" in os.environ:
        Path(os.environ["MTLUE_FUZZ_REPORT"]).write_text(json.dumps(dict(VERDICTS)))


@seed(int(os.environ.get("MTLUE_FUZZ_SEED", "0")))
@settings(max_examples=COUNT, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_any_call(case: Case) -> None:
    VERDICTS[verdict(case)] += 1

"""Numbers on their way from a device."""

from __future__ import annotations

import copy
import math
import pickle

import torch

from mtlue._runtime import Arriving


def test_a_number_arrives_and_can_be_copied() -> None:
    number = Arriving(torch.tensor(1.5))
    assert [float(each) for each in (number, copy.deepcopy(number), pickle.loads(pickle.dumps(number)))] == [1.5] * 3
    assert math.isnan(float(Arriving(torch.tensor(torch.nan))))

"""A mark for tests that compute in bfloat16 on the processor, which torch may not survive."""

from __future__ import annotations

import pytest

from mtlue._runtime.bfloat16 import crash_in_bfloat16

computes_in_bfloat16 = pytest.mark.skipif(crash_in_bfloat16() is not None, reason=f"{crash_in_bfloat16()}")

"""What hostile runs are made of: calls that are broken off, and files that are tampered with."""

import sys
from pathlib import Path

# The calls, and what breaks them off, are those of the tests.
sys.path.append(str(Path(__file__).parents[2] / "tests"))

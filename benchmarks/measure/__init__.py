"""One measuring stick for recipes of protection: sets, recipes, victims, and what they cost."""

import sys
from pathlib import Path

# The small network of the examples is the victim here, and Multi-Fashion comes from there too.
sys.path.append(str(Path(__file__).parents[2] / "examples"))

"""``python -m mtlue``: the command line."""

import sys

from mtlue._cli import main

sys.exit(main())

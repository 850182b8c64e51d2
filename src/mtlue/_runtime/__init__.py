"""Devices, memory, files and progress: what surrounds the method."""

import logging as _logging

# Where nobody listens, what a library has to say is not printed: Python would otherwise do so from warnings on.
_logging.getLogger("mtlue").addHandler(_logging.NullHandler())

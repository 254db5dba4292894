"""A module that writes to stderr and cannot be imported."""

import sys

print("about to fail", file=sys.stderr)
raise RuntimeError("this module cannot be imported")

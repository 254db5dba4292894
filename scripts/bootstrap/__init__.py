"""Make a virtual environment in the checkout, with a CPython that the machine may not have yet.

Run as `python3 -m scripts.bootstrap 3.14` from the root of the checkout. Standard library only, CPython 3.8 or newer.
"""

import sys

# For the interpreters that cannot read the other files.
if sys.version_info < (3, 8):  # noqa: UP036
    sys.exit(
        "setup: this python3 is older than 3.8; put a newer one on PATH, or name one: make SETUP_PYTHON=..."
    )

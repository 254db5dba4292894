"""Marks of tests that are about one kind of body, and so cannot be asked of another; what they name says why."""

import pytest

#: Signals, exit statuses and other things that belong to one process: whoever shares it has no other.
OF_A_PROCESS = pytest.mark.skip_backend("subint", see="docs/interpreters.md#what-only-a-process-has")
#: The first imports of a Python that has just begun: a fork has those of its server.
FRESH = pytest.mark.skip_backend(
    "forkserver", "mp_forkserver", see="ARCHITECTURE.md#decisions-that-differ-from-the-obvious"
)
#: Code that nothing inside of its process can end: it waits in C, or ignores every interrupt.
ENDLESS = pytest.mark.skip_backend("subint", see="docs/interpreters.md#the-end")

"""A process that is about to run out of file descriptors."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

#: Open files that the process may have meanwhile; what it has open already has to be fewer.
LIMIT = 200


@contextmanager
def few_left(left: int) -> Iterator[None]:
    """Let this process open `left` more descriptors, and not one above, for as long as the block takes."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    fill: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, limits[1]))
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                fill.append(os.dup(0))
        for _ in range(left):
            os.close(fill.pop())
        yield
    finally:
        for fd in fill:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

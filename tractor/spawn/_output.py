"""What a child writes to stderr before it is up: kept for the report of a failed boot."""

from __future__ import annotations

import io
import os
import tempfile
from contextlib import ExitStack, suppress

#: Bytes of a failed child's stderr that are reported.
_TAIL = 4096


class BootOutput:
    """A file without a name that a child writes to; closed by `stack`."""

    def __init__(self, stack: ExitStack) -> None:
        self.fd = anonymous_file(stack)
        self._text: str | None = None

    def dup(self) -> int:
        """Return a descriptor for the child, which closes it."""
        return os.dup(self.fd)

    def read(self) -> str:
        """Return the end of what was written."""
        if self._text is not None:
            return self._text
        size = os.fstat(self.fd).st_size
        return os.pread(self.fd, _TAIL, max(0, size - _TAIL)).decode(errors="replace")

    def add(self, text: str) -> None:
        """Write something in place of a child that could not."""
        with suppress(OSError):
            os.write(self.fd, text.encode(errors="replace"))

    def conclude(self) -> None:
        """The child is gone, and the file soon: keep the text."""
        self._text = self.read()


def anonymous_file(stack: ExitStack) -> int:
    """Return a descriptor of a file without a name, closed by `stack`."""
    if hasattr(os, "memfd_create"):
        # An object, which is closed as well where a loop that is torn leaves no time for `stack`.
        return stack.enter_context(io.FileIO(os.memfd_create("tractor-boot-stderr"), "r+")).fileno()
    return stack.enter_context(tempfile.TemporaryFile()).fileno()

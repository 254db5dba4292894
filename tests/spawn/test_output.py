"""What a child writes before it is up."""

import os
from contextlib import ExitStack

from tractor.spawn._output import BootOutput


def test_the_end_of_what_was_written_is_kept() -> None:
    """Also behind the end of the child, when the file is closed."""
    with ExitStack() as stack:
        output = BootOutput(stack)
        assert output.read() == ""
        fd = output.dup()
        os.write(fd, b"x" * 10_000 + b"the end\xff")
        os.close(fd)
        output.add("; nothing more")
        text = output.read()
        assert text.endswith("the end\N{REPLACEMENT CHARACTER}; nothing more")
        assert len(text) == 4096
        output.conclude()
    assert output.read() == text

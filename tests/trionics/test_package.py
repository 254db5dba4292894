"""The public names of `tractor.trionics`."""

import inspect
import subprocess
import sys

import pytest

import tractor
from tractor import trionics


def test_every_name_is_there_and_documented() -> None:
    """Each of them, once; and nothing else."""
    assert len(set(trionics.__all__)) == len(trionics.__all__)
    assert set(trionics.__all__) <= set(dir(trionics))
    for name in trionics.__all__:
        assert inspect.getdoc(getattr(trionics, name)), name
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        trionics.no_such_name  # noqa: B018 - the look is what fails


def test_it_is_reached_from_the_facade() -> None:
    """Although it is none of the names that `import *` brings."""
    assert tractor.trionics is trionics
    code = "import tractor; print(tractor.trionics.Lagged.__name__, 'trionics' in tractor.__all__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "Lagged False\n"

"""`python -m tractor`: the same as the command `tractor`."""

from tractor._cli._main import main

main(prog_name="tractor")

"""The command `tractor`."""

"""The command's entry, and what all of its parts share."""

from __future__ import annotations

import click

from tractor._cli._daemon import daemon


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run and find actors."""


main.add_command(daemon)

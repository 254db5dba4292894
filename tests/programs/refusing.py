"""A module that does not load in an isolated interpreter: a part of it refuses."""

import msgspec

import tractor

VERSION = msgspec.__version__


async def get_name() -> str:
    """Return the name of the actor this runs in."""
    return tractor.current_actor().name

"""What every actor of a tree inherits at boot."""

from tractor.runtime._vars import MAX_REQUESTS, RuntimeVars
from tractor.wire._kinds import MAX_BODY


def test_the_defaults_are_those_of_a_fresh_process() -> None:
    """Names that tools of this API read."""
    assert RuntimeVars().as_dict() == {
        "_is_root": False,
        "_root_mailbox": (None, None),
        "_root_addrs": [],
        "_enable_tpts": ["tcp"],
        "_registry_addrs": [],
        "_debug_mode": False,
        "_start_method": "trio",
        "_max_msg_size": MAX_BODY,
        "_max_requests": MAX_REQUESTS,
    }


def test_two_actors_share_nothing() -> None:
    """Each has lists of its own."""
    one, two = RuntimeVars(), RuntimeVars()
    one._root_addrs.append("x")
    assert two._root_addrs == []


def test_a_dict_of_them_is_a_copy() -> None:
    """Changing it changes no actor."""
    variables = RuntimeVars(_registry_addrs=["a"])
    variables.as_dict()["_registry_addrs"].append("b")
    assert variables._registry_addrs == ["a"]


def test_a_child_inherits_everything_but_being_the_root() -> None:
    """And it can be made from what travels."""
    variables = RuntimeVars(_is_root=True, _root_addrs=[("127.0.0.1", 1)], _debug_mode=True, _max_msg_size=5)
    inherited = variables.for_child()
    assert RuntimeVars(**inherited) == RuntimeVars(
        _is_root=False, _root_addrs=[("127.0.0.1", 1)], _debug_mode=True, _max_msg_size=5
    )
    inherited["_root_addrs"].append("x")
    assert variables._root_addrs == [("127.0.0.1", 1)]

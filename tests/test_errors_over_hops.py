"""What an exception still knows about itself after crossing several actors."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import tractor
from tests.programs import hops
from tests.programs.hops import OutOfCheese
from tractor import RemoteActorError
from tractor.msg import _errtypes

#: Actors between the one that fails and the one that looks.
RELAYS = 2
ORIGIN, RELAY, FIRST = "hop1", "hop2", "hop3"

type Ask = Callable[[tractor.Portal, str], Awaitable[Any]]


async def by_call(portal: tractor.Portal, kind: str) -> None:
    """Call, call, call."""
    await portal.run(hops.relay, hops=RELAYS, kind=kind)


async def by_context(portal: tractor.Portal, kind: str) -> None:
    """Contexts all the way; the last one fails after it has started."""
    async with portal.open_context(hops.relay_context, hops=RELAYS, kind=kind, early=False):
        await trio.sleep_forever()


async def by_context_early(portal: tractor.Portal, kind: str) -> None:
    """Contexts all the way; the last one never starts."""
    async with portal.open_context(hops.relay_context, hops=RELAYS, kind=kind, early=True):
        await trio.sleep_forever()


async def by_stream(portal: tractor.Portal, kind: str) -> None:
    """Streams all the way; the error comes after the last item."""
    async with portal.open_context(hops.relay_stream, hops=RELAYS, kind=kind) as (ctx, _):
        async with ctx.open_stream() as stream:
            assert [await stream.receive() for _ in range(3)] == [2, 1, 0]
            await stream.receive()


async def ask_far(ask: Ask, kind: str) -> RemoteActorError:
    """Return the error that comes from three actors away, all of them in order."""
    with pytest.raises(RemoteActorError) as info:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor(FIRST, enable_modules=[hops.__name__])
            await ask(portal, kind)
    return info.value


WAYS = pytest.mark.parametrize("ask", [by_call, by_context, by_context_early, by_stream])


def check_route(error: RemoteActorError, src_type: str) -> None:
    """Check who is said to have raised it, who passed it on, and where in the code that was."""
    assert error.src_type_str == src_type
    assert error.src_uid is not None
    assert error.src_uid[0] == ORIGIN
    assert [uid[0] for uid in error.relay_path] == [ORIGIN, RELAY, FIRST]
    assert error.relay_uid is not None
    assert error.relay_uid[0] == FIRST
    assert len({uid[1] for uid in error.relay_path}) == 3
    assert error.sender is not None
    assert error.sender[0] == FIRST
    text = error.tb_str
    assert text.count("raise ERRORS[kind]") == 1
    assert "hops.py" in text
    assert f"relayed from ('{ORIGIN}'" in text
    assert f"relayed from ('{RELAY}'" in text
    assert text.index("raise ERRORS[kind]") < text.index(f"by ('{RELAY}'") < text.index(f"by ('{FIRST}'")
    assert text in str(error)


@WAYS
@pytest.mark.parametrize(
    ("kind", "name", "src_type"),
    [
        ("ValueError", "ValueError", ValueError),
        ("OSError", "FileNotFoundError", FileNotFoundError),
        ("OutOfCheese", "OutOfCheese", OutOfCheese),
        ("Unheard", "Unheard", None),
    ],
)
async def test_an_error_keeps_type_origin_route_and_traceback(
    ask: Ask, kind: str, name: str, src_type: type[Exception] | None
) -> None:
    """Its type is a name where nobody here knows it, else the type; every actor that passed it on is named."""
    error = await ask_far(ask, kind)
    check_route(error, name)
    assert error.src_type is src_type
    assert error.boxed_type is RemoteActorError
    assert error.boxed_type_str == "RemoteActorError"
    message = "[Errno 2] no such thing: 'cheese.txt'" if kind == "OSError" else "no luck"
    assert error.message == message
    assert message in error.tb_str
    if src_type is not None:
        assert type(error.unwrap()) is src_type


@WAYS
async def test_a_group_arrives_with_all_its_members(ask: Ask) -> None:
    """As text: the type of the whole, and each member's traceback; and as data."""
    error = await ask_far(ask, "group")
    assert error.src_type is ExceptionGroup
    assert error.src_uid is not None
    assert error.src_uid[0] == ORIGIN
    assert [uid[0] for uid in error.relay_path] == [ORIGIN, RELAY, FIRST]
    for line in ("ValueError: no luck", "OutOfCheese: no luck"):
        assert line in error.tb_str
    assert error.tb_str.count("raise ERRORS[kind]") == 2
    assert {member.src_type for member in error.members} == {ValueError, OutOfCheese}
    assert {member.src_uid for member in error.members} == {error.src_uid}


async def test_causes_notes_and_nested_groups_travel_along() -> None:
    """The whole chain of them, as text and as data."""
    error = await ask_far(by_call, "mixed")
    assert error.src_type is ExceptionGroup
    for line in (
        "ValueError: no luck",
        "a note from afar",
        "LookupError: no luck",
        "direct cause of the following",
    ):
        assert line in error.tb_str
    (caused,) = [member for member in error.members if member.src_type is LookupError]
    (nested,) = [member for member in error.members if member.src_type is ExceptionGroup]
    assert [(cause.src_type, cause.notes) for cause in caused.causes] == [(ValueError, ("a note from afar",))]
    assert {leaf.src_type for leaf in nested.leaves()} == {FileNotFoundError, OutOfCheese}
    assert {leaf.src_uid for leaf in error.leaves()} == {error.src_uid}
    assert error.src_uid is not None
    assert error.src_uid[0] == ORIGIN


async def test_the_errors_of_two_main_functions_are_found_in_the_group_that_comes_up() -> None:
    """Each with the actor it was raised in, and those that passed it on."""
    with pytest.raises(RemoteActorError) as info:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor(FIRST, enable_modules=[hops.__name__])
            await portal.run(hops.crash_both, kinds=["ValueError", "OutOfCheese"])
    error = info.value
    assert error.boxed_type is ExceptionGroup
    assert error.src_uid == portal.aid.uid
    found = {leaf.src_type: leaf for leaf in error.leaves()}
    assert found.keys() == {ValueError, OutOfCheese}
    for src_type, leaf in found.items():
        assert src_type is not None
        assert leaf.src_uid is not None
        assert leaf.src_uid[0] == f"crash {src_type.__name__}"
        assert leaf.relay_path == [leaf.src_uid, portal.aid.uid]


@pytest.mark.parametrize("hops_", [1, 2, 5])
async def test_any_number_of_hops(hops_: int) -> None:
    """One is the simple case; more than three are no different from two."""
    with pytest.raises(RemoteActorError) as info:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor(f"hop{hops_}", enable_modules=[hops.__name__])
            await portal.run(hops.relay, hops=hops_ - 1, kind="cause")
    error = info.value
    assert error.boxed_type is (LookupError if hops_ == 1 else RemoteActorError)
    assert error.is_inception() is (hops_ > 1)
    assert error.src_type is LookupError
    assert [uid[0] for uid in error.relay_path] == [f"hop{n}" for n in range(1, hops_ + 1)]
    assert error.src_uid == error.relay_path[0]
    assert [cause.src_type for cause in error.causes] == [ValueError]
    assert error.causes[0].src_uid == error.src_uid


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("here", [True, False])
async def test_a_type_is_known_where_it_was_registered(
    here: bool, there: bool, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the receiver has registered counts; the names are there in any case."""
    monkeypatch.setattr(_errtypes, "_registered", {"Unheard": hops.Unheard} if here else {})
    with pytest.raises(RemoteActorError) as info:
        async with tractor.open_nursery(enable_transports=[transport]) as nursery:
            portal = await nursery.start_actor("child", enable_modules=[hops.__name__])
            await portal.run(hops.fail_unheard, register=there)
    error = info.value
    assert error.boxed_type is error.src_type is (hops.Unheard if here else None)
    assert error.boxed_type_str == error.src_type_str == "Unheard"
    assert "Unheard: no luck" in error.tb_str
    assert type(error.unwrap()) is (hops.Unheard if here else RuntimeError)


@pytest.mark.parametrize(("kind", "src_type"), [("ValueError", ValueError), ("OutOfCheese", OutOfCheese)])
async def test_an_error_of_a_main_function_comes_up_through_every_nursery(
    kind: str, src_type: type[Exception]
) -> None:
    """Each of them raises it bare, for it is the only one."""
    with pytest.raises(RemoteActorError) as info:
        await hops.crash_main(hops=3, kind=kind)
    check_route(info.value, kind)
    assert info.value.src_type is src_type


async def test_one_hop_is_the_simple_case() -> None:
    """The box holds the error itself, and nobody has passed it on."""
    with pytest.raises(RemoteActorError) as info:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor(FIRST, enable_modules=[hops.__name__])
            await portal.run(hops.fail, kind="OutOfCheese")
    error = info.value
    assert error.boxed_type is error.src_type is OutOfCheese
    assert error.src_uid == error.relay_uid == portal.aid.uid
    assert error.relay_path == [portal.aid.uid]
    assert "relayed" not in error.tb_str

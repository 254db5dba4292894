"""What `tests/msg/test_isolated.py` runs in interpreters that share no GIL. Bytes go in as hex, and come out so."""

import pkgutil
import sys
from importlib import import_module
from typing import Any, NamedTuple

import tractor
from tractor.msg import Error, Return, Started, limit_plds, mk_dec
from tractor.msg._codec import DecodeError, get_codec, to_type
from tractor.msg._errbox import pack_error, unpack_error
from tractor.msg._payloads import PldRx, current_owner
from tractor.msg._types import Bye, Cancel, Hello, SpawnSpec, Start

SPECS: dict[str, Any] = {spec.__name__: spec for spec in (Hello, Bye, Start, Cancel, SpawnSpec, Error)}
HERE = ("isolated", "u-2")


class Point(NamedTuple):
    """What a payload may be."""

    x: int
    y: int = 0


def relay(messages: list[tuple[str, str]]) -> list[str]:
    """Read messages of the runtime, and return them written again or why they are refused."""
    codec, found = get_codec(), []
    for name, body in messages:
        try:
            found.append(codec.encode(codec.decoder(SPECS[name])(bytes.fromhex(body))).hex())
        except DecodeError as exc:
            found.append(str(exc))
    return found


def relay_error(body: str) -> tuple[str, str, str]:
    """Raise the error in the box, and return what it says and two boxes: with it, and with one of our own."""
    codec = get_codec()
    texts = []
    boxes = []
    try:
        raise unpack_error(codec.decoder(Error)(bytes.fromhex(body)), sender=("parent", "u-1"))
    except tractor.RemoteActorError as exc:
        exc.add_note("seen")
        texts.append(f"{exc.boxed_type.__name__ if exc.boxed_type else None}: {exc.message}")
        boxes.append(codec.encode(pack_error(exc, HERE)).hex())
    try:
        raise ExceptionGroup("ours", [ValueError("one"), KeyError("two")])
    except ExceptionGroup as exc:
        boxes.append(codec.encode(pack_error(exc, HERE, extra={"big": 2**63 - 1})).hex())
    return texts[0], boxes[0], boxes[1]


def limit(good: str, bad: str) -> list[str]:
    """Take payloads by a spec, and return what came of them."""

    class Owner:
        pld_rx = PldRx(mk_dec(dict[str, Point] | None))

    current_owner.set(Owner)
    payloads, found = Owner.pld_rx, []
    found.append(repr(payloads.decode(bytes.fromhex(good))))
    try:
        payloads.decode(bytes.fromhex(bad))
    except ValueError as exc:
        error = payloads.refuse(bytes.fromhex(bad), "Return", "7", exc)
        found.append(f"{error.expected_msg_type is Return} {error.message}")
    try:
        payloads.check([1], payloads.encode([1]), "Started", "7", strict=False)
    except tractor.MsgTypeError as exc:
        found.append(f"{exc.expected_msg_type is Started} {exc.message}")
    with limit_plds(list[Any]):
        found.append(repr(payloads.decode(payloads.encode((1, 2)))))
    return found


def refusals() -> list[str]:
    """Return the texts with which what needs msgspec refuses to be imported or called."""
    found = []

    def by_name() -> Any:
        from tractor.msg import Struct

        return Struct

    for use in (by_name, lambda: tractor.msg.Struct, lambda: to_type(1, int), by_name):
        try:
            use()
        except ImportError as exc:
            found.append(str(exc))
    assert get_codec().decoder(int)(b"\x05") == 5
    return found


def modules() -> dict[str, str]:
    """Import every module of the package, and return the error of each that refuses."""
    found: dict[str, str] = {}
    for module in pkgutil.walk_packages(tractor.__path__, "tractor."):
        if not module.name.endswith("__main__"):
            try:
                import_module(module.name)
            except ImportError as exc:
                found[module.name] = str(exc)
    return found


def eager() -> dict[str, list[str]]:
    """Import what every child does, read a message, and return what that has brought and what refused."""
    for name in ("_child._boot", "runtime", "supervise", "discovery", "trionics"):
        package = import_module(f"tractor.{name}")
        for module in pkgutil.iter_modules(getattr(package, "__path__", []), f"tractor.{name}."):
            import_module(module.name)
    before = {name.partition(".")[0] for name in sys.modules}
    get_codec().decoder(SpawnSpec)
    after = {name.partition(".")[0] for name in sys.modules}
    names = ("msgspec", "msgpack", "cattrs")
    return {
        "before": sorted(before.intersection(names)),
        "after": sorted(after.intersection(names)),
        "c parts": [
            name for name in sys.modules if name.endswith("_cmsgpack") and sys.modules[name] is not None
        ],
    }

"""The messages of a context as people name them.

On the wire they are frames with a binary header; these types say which one an error is about
(`MsgTypeError.expected_msg_type`).
"""

from dataclasses import dataclass
from typing import Any

__all__ = ["BY_NAME", "PayloadMsg", "Return", "Started", "Stop", "Yield"]


@dataclass(frozen=True, slots=True)
class PayloadMsg[PayloadT = Any]:
    """A message that carries a value of the program."""

    __module__ = "tractor.msg"

    #: The context.
    cid: str
    #: The value.
    pld: PayloadT


class Started[PayloadT = Any](PayloadMsg[PayloadT]):
    """The first value of an endpoint, given to `Context.started()`."""

    __module__ = "tractor.msg"
    __slots__ = ()


class Yield[PayloadT = Any](PayloadMsg[PayloadT]):
    """An item of a stream."""

    __module__ = "tractor.msg"
    __slots__ = ()


class Return[PayloadT = Any](PayloadMsg[PayloadT]):
    """The result of an endpoint or function."""

    __module__ = "tractor.msg"
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Stop:
    """One side has closed its stream."""

    __module__ = "tractor.msg"

    #: The context.
    cid: str


#: The types by the names that travel in errors.
BY_NAME: dict[str, Any] = {found.__name__: found for found in (Started, Yield, Return, Stop)}

"""Payloads that do not match their spec: the errors, and specs as text. Loaded when the first one is met."""

from __future__ import annotations

import os
import reprlib
from traceback import TracebackException
from typing import Any

from tractor.msg import _messages
from tractor.msg._boxed import MsgTypeError
from tractor.msg._codec import Codec, DecodeError, get_codec
from tractor.msg._spec import pformat_spec

__all__ = [
    "refuse_to_change",
    "refuse_to_send",
    "refuse_to_take",
]

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
#: A payload may be of any size; its text in an error is not.
_short = reprlib.Repr(
    maxlevel=8, maxdict=40, maxlist=40, maxtuple=40, maxset=40, maxstring=1000, maxlong=1000, maxother=1000
).repr


def refuse_to_send(value: Any, spec: Any, what: str, cid: str, exc: Exception) -> MsgTypeError:
    """Return the error for a value that the other side would refuse, its spec being the same."""
    return _error(f"{_mismatch(value, spec, what)}: {_reason(exc)}", value, what, cid)


def refuse_to_change(value: Any, arrives: Any, what: str, cid: str) -> MsgTypeError:
    """Return the error for a value that would arrive as another one."""
    text = f"{_short(value)} has type {type(value)!r}, but arrives as {_short(arrives)} of type {type(arrives)!r}"
    return _error(text, value, what, cid)


def refuse_to_take(
    body: Any, spec: Any, what: str, cid: str, exc: Exception, codec: Codec | None = None
) -> MsgTypeError:
    """Return the error for a payload that has come, with the decoder's own report as its traceback text.

    `codec`: that of the link it has come by; by default msgpack.
    """
    try:
        value = (codec or get_codec()).decoder()(body)
    except DecodeError:
        value = bytes(body)
        text = f"{_short(value)} is no value of the codec"
    else:
        text = _mismatch(value, spec, what)
    return _error(f"{text}: {_reason(exc)}", value, what, cid, tb_str=_report(exc))


def _mismatch(value: Any, spec: Any, what: str) -> str:
    return f"{_short(value)} has type {type(value)!r}, does not match type-spec `{what}.pld: {pformat_spec(spec)}`"


def _error(text: str, value: Any, what: str, cid: str, **facts: str) -> MsgTypeError:
    return MsgTypeError.from_decode(
        f"invalid `{what}` msg payload\n{text}",
        bad_msg=value,
        bad_msg_as_dict={"msg_type": what, "cid": cid, "pld": value},
        expected_msg_type=_messages.BY_NAME[what],
        cid=cid,
        **facts,
    )


def _reason(exc: Exception) -> str:
    return str(exc) or type(exc).__name__


def _report(exc: Exception) -> str:
    """Return the traceback of a failed decode without this package's own lines: it shows the hook, if one has raised."""
    report = TracebackException.from_exception(exc)
    part: TracebackException | None = report
    while part is not None:
        part.stack[:] = [frame for frame in part.stack if not frame.filename.startswith(_PACKAGE)]
        part = part.__cause__ or part.__context__
    return "".join(report.format())

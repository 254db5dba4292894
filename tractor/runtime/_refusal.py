"""Requests that are not served, because their peer asks for too much at once."""

from __future__ import annotations

from typing import Protocol

from tractor._errors import TooManyRequests, TransportClosed
from tractor._ids import Aid
from tractor.ipc._transport import Buffer
from tractor.log import get_logger
from tractor.msg._codec import DecodeError
from tractor.msg._errbox import pack_error
from tractor.msg._types import Start
from tractor.runtime._router import Router
from tractor.wire._kinds import Kind

log = get_logger(__name__)

#: How many of the runtime's own requests are served beyond the limit: whoever asks for too much may still end the actor.
RESERVE = 100


class Host(Protocol):
    """What refusing needs of the actor."""

    aid: Aid
    max_requests: int


def may_refuse(host: Host, router: Router, body: Buffer) -> bool:
    """Whether a request over the limit is not one of the runtime's own, such as to end the actor."""
    if router.serving >= host.max_requests + RESERVE:
        return True
    try:
        start: Start = router.channel.codec.decoder(Start)(body)
    except DecodeError:
        return True
    return not start.target.startswith("self:")


def refuse(host: Host, router: Router, did: int) -> None:
    """Answer a request with the reason why it is not served; what follows in its dialog is ignored."""
    if router.serving >= host.max_requests:
        what = f"serves {router.serving} requests of yours; its limit (`max_requests`) is {host.max_requests}"
    else:
        what = f"holds {router.channel.unread // 2**20} MiB of answers that you have not read"
    log.info("request refused", extra={"peer": str(router.peer), "serving": router.serving})
    error = pack_error(TooManyRequests(f"{host.aid} {what}"), host.aid.uid)
    try:
        router.channel.post(Kind.ERROR, 0, did, router.channel.codec.encode(error))
    except TransportClosed:
        log.info("a refusal found nobody to hear it")

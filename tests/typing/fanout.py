"""Broadcasts: every receiver knows the type of its values, and the stream's know what may be sent."""

from typing import assert_type

import trio

import tractor
from tractor.trionics import AsyncReceiver, BroadcastReceiver, Lagged, broadcast_receiver


async def of_a_stream(stream: tractor.MsgStream[int]) -> None:
    """A subscription receives what the stream does, and sends what it does."""
    async with stream.subscribe() as receiver, stream.subscribe(raise_on_lag=False) as other:
        assert_type(await receiver.receive(), int)
        async for item in other:
            assert_type(item, int)
        await receiver.send(1)
        await receiver.send("x")  # type: ignore[arg-type]
        async with receiver.subscribe() as further:
            await further.send(2)


async def of_a_channel(channel: trio.MemoryReceiveChannel[str]) -> None:
    """Anything that can be received from is a source."""
    receiver = broadcast_receiver(channel, 16)
    assert_type(receiver, BroadcastReceiver[str])
    async with receiver.subscribe() as other:
        assert_type(other.receive_nowait(), str)
    broadcast_receiver(receiver, max_buffer_size=1, raise_on_lag=False)
    broadcast_receiver(channel, "many")  # type: ignore[arg-type]
    broadcast_receiver(3, 1)  # type: ignore[arg-type]


async def counts(receiver: AsyncReceiver[int]) -> int:
    """A helper need not know what it reads from."""
    total = 0
    try:
        async for value in receiver:
            total += value
    except Lagged as exc:
        assert_type(exc.lost, int)
    return total


async def any_receiver(
    stream: tractor.MsgStream[int],
    channel: trio.MemoryReceiveChannel[int],
    words: trio.MemoryReceiveChannel[str],
) -> None:
    """Streams, channels and broadcasts of them."""
    await counts(stream)
    await counts(channel)
    await counts(broadcast_receiver(channel, 1))
    await counts(words)  # type: ignore[arg-type]

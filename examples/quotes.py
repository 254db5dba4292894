"""A service for other programs: prices, streamed to whoever asks.

Run it with `tractor daemon quotes --name quotes` in this directory; `quotes_client.py` is a program that uses it.
"""

import random
from typing import TypedDict

import trio

import tractor


class Quote(TypedDict):
    """The price of one share at one moment."""

    symbol: str
    number: int
    price: float


@tractor.context(pld_spec=Quote | list[str] | None)
async def stream_quotes(
    ctx: tractor.Context[list[str], Quote, None], symbols: list[str], pause: float = 0.5
) -> None:
    """Send a quote of each symbol every `pause` seconds, for as long as the other side listens."""
    known = [symbol.upper() for symbol in symbols]
    prices = dict.fromkeys(known, 100.0)
    await ctx.started(known)
    # With backpressure: a client that is slow gets every quote, later. It cannot fill our memory.
    async with ctx.open_stream(backpressure=True) as stream:
        number = 0
        while True:
            for symbol in known:
                prices[symbol] = round(prices[symbol] * random.uniform(0.99, 1.01), 2)
                await stream.send({"symbol": symbol, "number": number, "price": prices[symbol]})
            number += 1
            await trio.sleep(pause)

"""The worker actor of the census: its process loads this module and not the program's own."""

import os

from census_analysis import Finding, examine

import tractor

WINDOW = 8
"""Items that may be under way to one side of a stream; who sends more waits until some have been taken."""


@tractor.context(pld_spec=int | str | Finding)
async def examine_files(ctx: tractor.Context[int, str | Finding, int]) -> int:
    """Examine each file named on the stream and answer with its finding, in the same order; return how many.

    Starts with the process id of this worker. A file is examined right here, and nothing else goes on
    meanwhile: a worker has nothing better to do, and its next file names wait in the stream.
    """
    await ctx.started(os.getpid())
    count = 0
    async with ctx.open_stream(backpressure=True, msg_buffer_size=WINDOW) as stream:
        async for file in stream:
            assert isinstance(file, str)
            await stream.send(examine(file))
            count += 1
    return count

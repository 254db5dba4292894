"""Find the service `quotes`, show what it streams, and go on when it has been restarted. Ctrl-C ends it."""

import sys

import quotes
import trio

import tractor


async def follow(symbols: list[str]) -> None:
    """Show quotes of whichever program is the service just now."""
    async with tractor.open_root_actor(name="quotes-client"):
        while True:
            print("waiting for the service", flush=True)
            async with tractor.wait_for_actor("quotes") as portal:
                print(f"found {portal.aid}", flush=True)
                try:
                    async with portal.open_context(quotes.stream_quotes, symbols=symbols) as (ctx, known):
                        print("following", *known, flush=True)
                        async with ctx.open_stream(backpressure=True) as stream:
                            async for quote in stream:
                                print(
                                    f"{quote['number']:6} {quote['symbol']:6} {quote['price']:8.2f}",
                                    flush=True,
                                )
                except (tractor.TransportClosed, tractor.RemoteActorError) as gone:
                    # It was killed, or told to end, or Ctrl-C came in the very function that is followed. Whatever else
                    # goes wrong is an error, here too.
                    if isinstance(gone, tractor.RemoteActorError) and gone.boxed_type not in (
                        tractor.ContextCancelled,
                        KeyboardInterrupt,
                    ):
                        raise
                    print(f"the service is gone: {type(gone).__name__}", flush=True)


def main() -> int:
    """Run the program; Ctrl-C is how it ends."""
    try:
        trio.run(follow, sys.argv[1:] or ["ABC", "XYZ"])
    except KeyboardInterrupt:
        print("bye")
    return 0


if __name__ == "__main__":
    sys.exit(main())

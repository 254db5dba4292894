"""A program that does nothing but answer others."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import trio

from tractor.runtime._actor import Actor
from tractor.supervise._root import open_root_actor


async def _nothing(actor: Actor) -> None:
    """What a daemon does when it is ready, unless told otherwise."""


def run_daemon(
    enable_modules: Iterable[str],
    name: str = "root",
    registry_addrs: list[Any] | None = None,
    start_method: str | None = None,
    *,
    on_ready: Callable[[Actor], Awaitable[None]] = _nothing,
    **root_kwargs: Any,
) -> None:
    """Run a root actor that exposes `enable_modules`, until it is told to end.

    Blocks, outside of trio. SIGTERM, or somebody's `Portal.cancel_actor()`, ends it in order and this function returns;
    Ctrl-C ends it in order with `KeyboardInterrupt`. `on_ready` is awaited once others can find it. The other parameters, and
    what is raised, are those of `open_root_actor()`; a module that cannot be imported raises here.
    """
    modules = list(enable_modules)
    for module in modules:
        import_module(module)
    trio.run(
        _serve,
        on_ready,
        {
            "name": name,
            "registry_addrs": registry_addrs,
            "start_method": start_method,
            "enable_modules": modules,
            **root_kwargs,
        },
    )


async def _serve(on_ready: Callable[[Actor], Awaitable[None]], root_kwargs: dict[str, Any]) -> None:
    with trio.CancelScope() as scope, _ended_by(signal.SIGTERM, scope):
        # From the beginning: also while it looks for a registrar.
        async with open_root_actor(**root_kwargs) as actor:
            await on_ready(actor)
            await trio.sleep_forever()


@contextmanager
def _ended_by(number: signal.Signals, scope: trio.CancelScope) -> Iterator[None]:
    """Let a signal cancel `scope`. Not `trio.open_signal_receiver()`: its task would need a nursery, which puts Ctrl-C in a group."""
    token = trio.lowlevel.current_trio_token()

    def on_signal(_number: int, _frame: object) -> None:
        token.run_sync_soon(partial(scope.cancel, reason=number.name), idempotent=True)

    before = signal.signal(number, on_signal)
    try:
        yield
    finally:
        signal.signal(number, before)

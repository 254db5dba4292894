"""The one function that a `run_in_actor()` child runs, and its outcome."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container
from typing import Any

import trio

from tractor.msg._boxed import ContextCancelled, RemoteActorError
from tractor.msg._ptr import NamespacePath
from tractor.runtime._endpoint import context_meta, is_one_way
from tractor.runtime._portal import Portal

#: `*args` and `**kwargs`, which need nothing.
_REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def find_target(fn: Callable[..., Any], taken: Container[str]) -> tuple[str, str]:
    """Return module and name of a function that can be run in an actor of its own.

    Raises `TypeError` for what is no such function, and for one that needs an argument by a name that is `taken`.
    """
    if not inspect.iscoroutinefunction(fn):
        raise TypeError(f"{getattr(fn, '__qualname__', fn)!r} must be an async function, and no generator")
    if context_meta(fn) is not None:
        raise TypeError(
            f"{fn.__qualname__} is a context endpoint: start an actor and use `Portal.open_context()`"
        )
    if is_one_way(fn):
        raise TypeError(f"{fn.__qualname__} is a stream: start an actor and use `Portal.open_stream_from()`")
    for name, parameter in inspect.signature(fn).parameters.items():
        if name in taken and parameter.default is parameter.empty and parameter.kind not in _REST:
            raise TypeError(
                f"{fn.__qualname__} needs an argument {name!r}, which is one of `run_in_actor()` itself: start an actor and "
                "use `Portal.run()`"
            )
    return NamespacePath.from_ref(fn).to_tuple()


class MainTask:
    """Waits for the function's end on behalf of everybody who wants to know."""

    def __init__(self, on_done: Callable[[], None]) -> None:
        #: Set when the request to run it is being sent.
        self.begun = trio.Event()
        self.done = trio.Event()
        self.value: Any = None
        self.error: BaseException | None = None
        self._on_done = on_done

    @trio.lowlevel.enable_ki_protection
    async def run(self, portal: Portal, target: tuple[str, str], kwargs: dict[str, Any]) -> None:
        """Run the function; never raises for what it does."""
        self.begun.set()
        try:
            self.value = await portal.run_from_ns(*target, **kwargs)
        except Exception as exc:  # noqa: BLE001 - kept for whoever asks
            self.error = exc
        except BaseException as exc:
            self.error = exc
            raise
        finally:
            self.done.set()
            self._on_done()

    async def wait_for_result(self) -> Any:
        """Return what the function returned, or raise what it raised; as often as asked."""
        await self.done.wait()
        if self.error is not None:
            raise self.error
        return self.value

    @property
    def failure(self) -> BaseException | None:
        """The error of the function itself: not its cancellation, and not the loss of its actor."""
        if isinstance(self.error, RemoteActorError) and not isinstance(self.error, ContextCancelled):
            return self.error
        return None

"""The one function that a `run_in_actor()` child runs, and its outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from tractor.msg._boxed import ContextCancelled, RemoteActorError
from tractor.runtime._portal import Portal


class MainTask:
    """Waits for the function's end on behalf of everybody who wants to know."""

    def __init__(self, on_done: Callable[[], None]) -> None:
        self.done = trio.Event()
        self.value: Any = None
        self.error: BaseException | None = None
        self._on_done = on_done

    @trio.lowlevel.enable_ki_protection
    async def run(self, portal: Portal, target: tuple[str, str], kwargs: dict[str, Any]) -> None:
        """Run the function; never raises for what it does."""
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

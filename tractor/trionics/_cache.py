"""One resource for all tasks that want the same: opened by the first, closed by the last."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any

import trio

from tractor.trionics._service import current_services

log = logging.getLogger(__name__)

#: Seconds that a resource has to close when the last of its users is cancelled; then its closing is cancelled as well.
CLOSE_TIMEOUT = 1.0
#: Seconds that it has from then on, before the user goes on without it.
CANCEL_TIMEOUT = 0.5

_NO_KWARGS: Mapping[str, Any] = MappingProxyType({})


@asynccontextmanager
async def maybe_open_context[T](
    acm_func: Callable[..., AbstractAsyncContextManager[T, Any]],
    kwargs: Mapping[str, Any] = _NO_KWARGS,
    key: Hashable | Callable[..., Hashable] = None,
    tn: trio.Nursery | None = None,
) -> AsyncGenerator[tuple[bool, T]]:
    """Share what `acm_func(**kwargs)` opens with all tasks of this actor that ask for the same; yield `(shared, value)`.

    The first to ask has it opened, in a task of its own, and gets `shared` False. The last to leave has it closed and
    waits until it is; who asks meanwhile waits for that too, and has it opened anew.
    An error of opening it is raised in the one who was first; others that wait try again, each for itself. An error of
    closing it is raised in the last. If it ends in between, the blocks of all its users are cancelled, and its error is
    raised in each.
    Cancelling a user leaves the others alone. The last one waits for the closing all the same, but after a second that is
    cancelled, too, and after half a second more the user goes on.

    `key`: what "the same" means, beside `acm_func`: a value, or a function that makes one of `kwargs`; by default the
    `kwargs` themselves. `TypeError` for what cannot be hashed.
    `tn`: where its task runs, a nursery around the caller. By default it is one of the actor's own, that lives as long as the
    actor does. `RuntimeError` where it is not around the caller, and where there is no actor and no `tn`.
    """
    host = _find_host(tn)
    entries = _find_entries()
    name = _make_name(acm_func, kwargs, key)
    while True:
        entry = entries.get(name)
        shared = entry is not None
        if entry is None:
            entry = _Entry()
            host.start_soon(_hold, entry, entries, name, acm_func, kwargs)
            entries[name] = entry
        elif entry.leave.is_set():
            await entry.gone.wait()
            continue
        if await entry.join(first=not shared):
            break
    left: BaseException | None = None
    block = trio.CancelScope()
    entry.blocks.append(block)
    try:
        with block:
            yield shared, entry.value
    except BaseException as exc:  # noqa: BLE001 - raised again below
        left = exc
    finally:
        entry.blocks.remove(block)
    try:
        await entry.part()
    except trio.Cancelled as exc:
        left = exc if left is None else left
    entry.check(block, left)


class _Entry:
    """A resource, what became of it, and who uses it."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        #: Whether its task was cancelled, by the end of the nursery it is in.
        self.cancelled = False
        self.users = 0
        #: The blocks of the users that have got it.
        self.blocks: list[trio.CancelScope] = []
        #: Set when it is open, or cannot be opened.
        self.settled = trio.Event()
        #: Set when nobody uses it any more.
        self.leave = trio.Event()
        #: Set when it is closed, or could not be opened.
        self.gone = trio.Event()
        #: Of its task.
        self.scope = trio.CancelScope()

    async def join(self, *, first: bool) -> bool:
        """Become a user; False where it could not be opened, and another attempt is due."""
        self.users += 1
        try:
            await self.settled.wait()
        except BaseException as exc:
            if self.users == 1:
                # Nobody waits for it any more.
                self.scope.cancel(reason="the task that wanted this to be opened was cancelled")
            with suppress(trio.Cancelled):
                await self.part()
            self.check(None, exc)
            raise
        if not self.gone.is_set():
            return True
        self.users -= 1
        if first:
            self.check(None, None)
            await trio.lowlevel.checkpoint_if_cancelled()
            raise RuntimeError("the nursery in which this was to be opened was cancelled")
        return False

    async def part(self) -> None:
        """Be no user any more: the last one closes it."""
        self.users -= 1
        if self.users or self.gone.is_set():
            return
        self.leave.set()
        try:
            await self.gone.wait()
        except trio.Cancelled:
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await self.gone.wait()
            self.scope.cancel(reason="its last user was cancelled, and it does not close")
            with trio.move_on_after(CANCEL_TIMEOUT, shield=True):
                await self.gone.wait()
            if not self.gone.is_set():
                log.warning("a shared resource does not close", extra={"resource": repr(self.value)})
            raise

    def check(self, block: trio.CancelScope | None, left: BaseException | None) -> None:
        """Raise how it has ended where that is an error, else what has `left` the block."""
        if self.gone.is_set() and self.error is not None:
            raise self.error
        if left is not None:
            raise left
        if block is not None and block.cancelled_caught and self.cancelled:
            raise RuntimeError("the nursery in which this was opened was cancelled while it was in use")


type _Entries = dict[Hashable, _Entry]

#: What is open in this run of trio.
_entries: trio.lowlevel.RunVar[_Entries] = trio.lowlevel.RunVar("tractor-shared-contexts")


async def _hold(
    entry: _Entry,
    entries: _Entries,
    name: Hashable,
    acm_func: Callable[..., AbstractAsyncContextManager[Any, Any]],
    kwargs: Mapping[str, Any],
) -> None:
    """Hold a resource open until nobody uses it any more."""
    try:
        with entry.scope:
            async with acm_func(**kwargs) as entry.value:
                entry.settled.set()
                await entry.leave.wait()
    except trio.Cancelled:
        entry.cancelled = True
        raise
    except BaseExceptionGroup as group:
        # A cancellation belongs to this task only.
        cancelled, entry.error = group.split(trio.Cancelled)
        entry.cancelled = cancelled is not None
    except BaseException as exc:  # noqa: BLE001 - raised in the users
        entry.error = exc
    finally:
        del entries[name]
        entry.settled.set()
        entry.gone.set()
        for block in entry.blocks:
            block.cancel(reason="what this block has shared with others has ended")


def _find_entries() -> _Entries:
    try:
        return _entries.get()
    except LookupError:
        entries: _Entries = {}
        _entries.set(entries)
        return entries


def _make_name(acm_func: object, kwargs: Mapping[str, Any], key: object) -> Hashable:
    """Return what the resource is found by: two actors in one run of trio do not share theirs."""
    if callable(key):
        key = key(**kwargs)
    elif key is None:
        key = tuple(sorted(kwargs.items(), key=lambda item: item[0]))
    name = (current_services(), acm_func, key)
    try:
        hash(name)
    except TypeError as exc:
        raise TypeError(f"{exc}: pass a `key` to maybe_open_context() that can be hashed") from None
    return name


def _find_host(tn: trio.Nursery | None) -> trio.Nursery:
    if tn is None:
        services = current_services()
        if services is None:
            raise RuntimeError(
                "no actor runs here: pass `tn`, a nursery around this task, to maybe_open_context()"
            )
        return services
    if not _is_around(tn):
        raise RuntimeError(
            f"{tn!r} is not around this task: what is opened in it could end before its users do"
        )
    return tn


def _is_around(nursery: trio.Nursery) -> bool:
    """Whether the running task is in the block of `nursery`, or came from a task in it."""
    task = trio.lowlevel.current_task()
    around = list(task.child_nurseries)
    while nursery not in around:
        parent = task.parent_nursery
        if parent is None:
            return False
        # A task's nurseries end in the reverse order: those from ours on may do so before us.
        task = parent.parent_task
        around = task.child_nurseries[: task.child_nurseries.index(parent) + 1]
    return True

"""A nursery whose children are actors."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import Any

import trio

from tractor._errors import ActorFailure
from tractor._ids import Aid, new_uuid
from tractor.ipc._addr import check_transports, wrap_address
from tractor.msg._boxed import ContextCancelled
from tractor.msg._codec import get_codec
from tractor.runtime._actor import Actor
from tractor.runtime._portal import Portal
from tractor.runtime._precedence import find_hidden, raise_unchanged
from tractor.runtime._reasons import reason_of
from tractor.spawn._backend import SHARING, Backend, open_backend
from tractor.supervise._child import SupervisedChild
from tractor.supervise._errors import (
    combine,
    gave_way,
    holds_cancelled,
    holds_interrupt,
    is_insistent,
    without_ended,
)
from tractor.supervise._lifecycle import Phase
from tractor.supervise._main import MainTask, find_target
from tractor.supervise._spec import Terms, build_spec, check_terms, merge_modules, own_addrs
from tractor.trionics._watch import watch_cancellation

#: Seconds a child has to end in order before it is ended by force.
GRACE = 1.0
#: Seconds a child has from its creation to its hello.
BOOT_TIMEOUT = 30.0
#: Seconds in which further `run_in_actor()` children may fail on their own after a first one has, before the rest
#: is cancelled: errors that were about to happen anyway are not replaced by a cancellation.
HARVEST = 1.0


class ActorNursery:
    """Starts actors and outlives every one of them. Made by `open_nursery()`."""

    def __init__(self, actor: Actor, backend: Backend, terms: Terms) -> None:
        self._actor = actor
        self._backend = backend
        self._terms = terms
        self._children: dict[tuple[str, str], SupervisedChild] = {}
        self._mains: dict[tuple[str, str], MainTask] = {}
        #: Errors by the uid of the child they came from.
        self._errors: dict[tuple[str, str], BaseException] = {}
        self._interrupted: set[tuple[str, str]] = set()
        #: The children that a cancellation from outside has ended.
        self._cut_off: set[Aid] = set()
        self._body_scope = trio.CancelScope()
        self._changed = trio.Event()
        self._harvest_until: float | None = None
        self._open = True
        #: Whether the children were told to end.
        self.cancel_called = False
        #: Whether the block was cancelled and left without an error.
        self.cancelled_caught = False
        #: Set when the block has been left.
        self.exited = trio.Event()

    def __repr__(self) -> str:
        names = ", ".join(name for name, _ in self._children) or "no children"
        return f"<ActorNursery of {self._actor.name!r}: {names}>"

    @property
    def cancelled(self) -> bool:
        """Deprecated: `cancel_called`."""
        warnings.warn(
            "ActorNursery.cancelled is deprecated; use ActorNursery.cancel_called",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.cancel_called

    # Starting.

    @trio.lowlevel.enable_ki_protection
    async def start_actor(
        self,
        name: str,
        *,
        enable_modules: list[str] | None = None,
        bind_addrs: list[Any] | None = None,
        rpc_module_paths: list[str] | None = None,
        enable_transports: list[str] | None = None,
        loglevel: str | None = None,
        inherit_parent_main: bool = True,
        proc_kwargs: dict[str, Any] | None = None,
    ) -> Portal:
        """Start an actor that lives until it is cancelled, and return a portal to it.

        `enable_modules`: dotted names of the modules whose functions may be run in it. `bind_addrs`: where it listens
        (default: a random address of its transport). `enable_transports`: `["tcp"]` or `["uds"]` (default: ours).
        `inherit_parent_main`: whether functions of the main script can run in it. `proc_kwargs`: passed to
        `trio.lowlevel.open_process`; with a fork server: `cwd`, `env`, `pass_fds`, `start_new_session`, `stderr`, `stdin`,
        `stdout` and `umask`; for an interpreter: `gil`; with `multiprocessing`: nothing. They go before those of the nursery. `rpc_module_paths`: deprecated, more of `enable_modules`.

        Raises `ActorFailure` when it does not come up, `RuntimeError` after `cancel()`, and what finding the modules
        raises. When it later ends though nobody asked it to, that is an error of this nursery.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        child = self._new_child(
            name,
            enable_modules=merge_modules(enable_modules, rpc_module_paths),
            bind_addrs=bind_addrs,
            transports=check_transports(enable_transports, self._actor.vars._enable_tpts),
            loglevel=loglevel,
            inherit_parent_main=inherit_parent_main,
            proc_kwargs={**self._terms.proc_kwargs, **(proc_kwargs or {})},
        )
        self._children[child.aid.uid] = child
        self._actor.services.start_soon(child.run)
        try:
            await child.up.wait()
            if child.portal is None:
                await child.gone.wait()
                raise child.failure or ActorFailure(
                    f"its start was cancelled: {child.end_reason}", name=name, exit=child.exit
                )
        except BaseException:
            if child.phase is not Phase.GONE:
                child.end_soon("its start was cancelled")
            with trio.CancelScope(shield=True):
                # Bounded by the ladder.
                await child.gone.wait()
            raise
        return child.portal

    @trio.lowlevel.enable_ki_protection
    async def run_in_actor[T](
        self,
        fn: Callable[..., Awaitable[T]],
        *,
        name: str | None = None,
        bind_addrs: list[Any] | None = None,
        rpc_module_paths: list[str] | None = None,
        enable_modules: list[str] | None = None,
        loglevel: str | None = None,
        inherit_parent_main: bool = True,
        proc_kwargs: dict[str, Any] | None = None,
        **fn_kwargs: Any,
    ) -> Portal:
        """Start an actor, run one async function in it, and end it with the function.

        `name`: by default the function's. The result comes from `Portal.wait_for_result()`; an error of the function
        is an error of this nursery once its body has ended. Other parameters and errors are those of `start_actor`, whose
        names cannot be those of the function's. Raises `TypeError` for a function or arguments that cannot be sent.
        """
        target = find_target(fn, inspect.signature(ActorNursery.run_in_actor).parameters)
        get_codec().encode(fn_kwargs)
        portal = await self.start_actor(
            name or fn.__name__,
            enable_modules=[target[0], *merge_modules(enable_modules, rpc_module_paths)],
            bind_addrs=bind_addrs,
            loglevel=loglevel,
            inherit_parent_main=inherit_parent_main,
            proc_kwargs=proc_kwargs,
        )
        main = MainTask(self._pulse)
        portal._wait_for_result = main.wait_for_result
        self._mains[portal.aid.uid] = main
        self._actor.services.start_soon(main.run, portal, target, fn_kwargs)
        with trio.CancelScope(shield=True):
            # One turn of the loop; or a request to end the actor could overtake the function.
            await main.begun.wait()
        return portal

    def _new_child(
        self,
        name: str,
        *,
        enable_modules: list[str],
        bind_addrs: list[Any] | None,
        transports: list[str],
        loglevel: str | None,
        inherit_parent_main: bool,
        proc_kwargs: dict[str, Any],
    ) -> SupervisedChild:
        if self.cancel_called or not self._open:
            state = "was cancelled" if self.cancel_called else "is closed"
            raise RuntimeError(f"cannot start {name!r}: this nursery {state}")
        uuid = new_uuid()
        token = os.urandom(32) if os.environ.get("TRACTOR_CHILD_LINK") == "connect" else b""
        own = (
            own_addrs(name, uuid, transports)
            if self._terms.start_method in SHARING and not bind_addrs
            else []
        )
        addrs = own or [wrap_address(addr) for addr in bind_addrs or []]
        spec = build_spec(
            self._actor,
            name,
            uuid,
            enable_modules=enable_modules,
            bind_addrs=addrs,
            transports=transports,
            token=token,
            loglevel=loglevel,
            inherit_parent_main=inherit_parent_main,
            proc_kwargs=proc_kwargs,
        )
        return SupervisedChild(
            self._actor,
            self._backend,
            spec,
            bind_addrs=addrs,
            token=token,
            grace=self._terms.grace,
            boot_timeout=self._terms.boot_timeout,
            on_change=self._on_child_change,
        )

    # Watching.

    def _pulse(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _on_child_change(self, child: SupervisedChild) -> None:
        uid = child.aid.uid
        if child.failure is not None and child.portal is not None and uid not in self._errors:
            self._errors[uid] = child.failure
            self._end_all(f"its sibling {child.aid} has failed")
            self._body_scope.cancel(reason=f"child actor {child.aid} has failed")
        if child.phase is Phase.GONE:
            self._children.pop(uid, None)
            if child.was_interrupted:
                self._interrupted.add(uid)
        self._pulse()

    def cut_off(self, cause: trio.Cancelled) -> None:
        """A scope around the block was cancelled: the children are ended with the body, not after it."""
        self._cut_off = {child.aid for child in self._children.values()}
        self._end_all(f"a scope around its nursery was cancelled: {reason_of(cause)}")

    def _end_all(self, reason: str, *, kill: bool = False) -> None:
        self.cancel_called = True
        for child in list(self._children.values()):
            child.end_soon(reason, kill=kill)

    @trio.lowlevel.enable_ki_protection
    async def cancel(self, hard_kill: bool = False) -> None:
        """End every child and return when they are gone; the body goes on.

        Each has its grace to end in order, all at the same time; `hard_kill` ends them by force at once.
        """
        self._end_all("its nursery was cancelled", kill=hard_kill)
        with trio.CancelScope(shield=True):
            await self._wait_gone()

    # Leaving.

    async def _wait_gone(self) -> None:
        """Wait for the ladders, each of which is bounded; a second interrupt kills at once."""
        interrupt: KeyboardInterrupt | None = None
        while self._children:
            try:
                await self._changed.wait()
            except KeyboardInterrupt as exc:
                interrupt = exc
                self._end_all("interrupted again", kill=True)
        if interrupt is not None:
            raise interrupt

    async def _join(self) -> None:
        """The body has ended well: collect the results of `run_in_actor()` children, then wait for the others."""
        while self._children:
            running = False
            for uid, main in self._mains.items():
                child = self._children.get(uid)
                if child is None:
                    continue
                if not main.done.is_set():
                    running = True
                elif child.phase is Phase.UP:
                    child.end_soon("its function has ended")
            self._collect()
            if self._errors and not self.cancel_called:
                if self._harvest_until is None:
                    self._harvest_until = trio.current_time() + HARVEST
                if not running or trio.current_time() >= self._harvest_until:
                    self._end_all("a sibling has failed")
                    continue
            if not self._children:
                break
            with (
                trio.move_on_at(self._harvest_until or float("inf"))
                if not self.cancel_called
                else trio.CancelScope()
            ):
                await self._changed.wait()

    def _collect(self) -> None:
        """Note the errors of the functions that have ended."""
        for uid, main in self._mains.items():
            error = main.failure or (
                main.error if isinstance(main.error, ContextCancelled) and not self.cancel_called else None
            )
            if error is not None and uid not in self._errors:
                self._errors[uid] = error

    @trio.lowlevel.enable_ki_protection
    async def leave(self, own: BaseException | None) -> BaseException | None:
        """End what is left after the body; return what the block has to raise."""
        if own is None:
            try:
                await self._join()
            except BaseException as exc:  # noqa: BLE001 - raised by the block, after the children are gone
                own = exc
        if self._children:
            why = (
                f"the nursery's body raised {type(own).__name__}"
                if own is not None
                else "its nursery has ended"
            )
            self._end_all(why, kill=is_insistent(own))
            try:
                with trio.CancelScope(shield=True):
                    await self._wait_gone()
            except KeyboardInterrupt as exc:
                own = exc
        self._open = False
        self._collect()
        if self._cut_off:
            own = await self._give_way(own)
        children = list(self._errors.items())
        if holds_interrupt(own):
            children = [(uid, exc) for uid, exc in children if uid not in self._interrupted]
        error = combine(own, [exc for _, exc in children])
        self.cancelled_caught = self.cancel_called and error is None
        self.exited.set()
        return error

    async def _give_way(self, own: BaseException | None) -> BaseException | None:
        """Return what the body has to raise beside the cancellation that has ended the children, or that cancellation.

        What their end has done to the body comes of it, and a body that has ended well has lost them all the same.
        """
        rest = without_ended(own, self._actor.uid, self._cut_off)
        if rest is None:
            try:
                await trio.lowlevel.checkpoint_if_cancelled()
            except (trio.Cancelled, KeyboardInterrupt) as exc:
                # It has not overtaken what the body was told, but has led to it.
                exc.__context__ = None
                return exc
        return own if rest is None else rest


def _open_backend(actor: Actor, method: str) -> AbstractAsyncContextManager[Backend]:
    return (
        nullcontext(actor.backend) if actor.backend and method == actor.backend_key else open_backend(method)
    )


@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def run_nursery(actor: Actor, terms: Terms) -> AsyncGenerator[ActorNursery]:
    """Open a nursery of `actor`; see `open_nursery`."""
    check_terms(terms)
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(_open_backend(actor, terms.start_method))
        nursery = ActorNursery(actor, backend, terms)
        await stack.enter_async_context(watch_cancellation(nursery.cut_off))
        own: BaseException | None = None
        hidden: BaseException | None = None
        try:
            with nursery._body_scope:
                try:
                    yield nursery
                except BaseException as exc:
                    hidden = find_hidden(exc)
                    raise
        except BaseException as exc:  # noqa: BLE001 - raised below, after the children are gone
            own = exc
        own = own if hidden is None else hidden
        error = await nursery.leave(own)
        if error is not None and (error is own or gave_way(own, error) or holds_cancelled(error)):
            raise_unchanged(error)
        if error is not None:
            # What the body was doing when it was cancelled explains nothing.
            raise error from error.__cause__

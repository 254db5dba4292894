"""Everything around calls and contexts: nurseries, the root, discovery, the runtime's state, errors."""

from typing import Any, assert_type

import tractor


async def work(n: int) -> int:
    """Do something."""
    return n


async def nurseries() -> None:
    """A nursery's block gets the nursery; starting an actor gives a portal."""
    async with tractor.open_nursery(grace=0.5, boot_timeout=10, enable_transports=["uds"]) as an:
        assert_type(an, tractor.ActorNursery)
        portal = await an.start_actor("worker", enable_modules=[__name__], loglevel="info")
        assert_type(portal, tractor.Portal)
        runner = await an.run_in_actor(work, n=1)
        assert_type(runner, tractor.Portal)
        assert_type(await runner.wait_for_result(), Any)
        assert_type(await portal.cancel_actor(), bool)
        await an.cancel(hard_kill=True)
        assert_type(an.cancel_called, bool)


async def mistakes_in_nurseries(an: tractor.ActorNursery) -> None:
    """Wrong arguments of the runtime's own functions are errors."""
    await an.start_actor(1)  # type: ignore[arg-type]
    await an.start_actor("worker", modules=[])  # type: ignore[call-arg]
    await an.start_actor("worker", enable_modules="shop")  # type: ignore[arg-type]
    await an.run_in_actor(lambda: 1)  # type: ignore[arg-type, return-value]
    tractor.open_nursery(grace="long")  # type: ignore[arg-type]
    tractor.open_root_actor(debug=True)  # type: ignore[call-arg]


async def roots() -> None:
    """A root actor can be had without a nursery."""
    async with tractor.open_root_actor(name="root", registry_addrs=[("127.0.0.1", 1616)]) as actor:
        assert_type(actor, tractor.Actor)
        assert_type(actor.uid, tuple[str, str])
        assert_type(actor.is_registrar, bool)


async def discovery() -> None:
    """Queries give portals."""
    async with tractor.wait_for_actor("worker") as portal:
        assert_type(portal, tractor.Portal)


def state() -> None:
    """The runtime's state, inside and outside an actor."""
    assert_type(tractor.current_actor(), tractor.Actor)
    assert_type(tractor.current_actor(err_on_no_runtime=False), tractor.Actor | None)
    assert_type(tractor.current_ipc_ctx(), tractor.Context | None)
    assert_type(tractor.get_runtime_vars(), dict[str, Any])
    assert_type(tractor.get_runtime_vars(as_dict=False), tractor.RuntimeVars)
    assert_type(tractor.is_root_process(), bool)


async def errors(portal: tractor.Portal) -> None:
    """The facts that errors carry."""
    try:
        await portal.run(work, n=1)
    except tractor.ContextCancelled as error:
        assert_type(error.canceller, tuple[str, str] | None)
    except tractor.RemoteActorError as error:
        assert_type(error.boxed_type, type[BaseException] | None)
        assert_type(error.src_uid, tuple[str, str] | None)
        assert_type(error.tb_str, str)
    except tractor.TransportClosed as error:
        assert_type(error.peer, str)
        assert_type(error.exit, tractor.Exit | None)
    except tractor.ActorFailure as error:
        assert_type(error.name, str)
        assert_type(error.exit, tractor.Exit | None)

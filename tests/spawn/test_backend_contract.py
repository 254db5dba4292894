"""What supervision may expect of a child, whatever it is made of: its life, seen by its backend alone."""

import os
import socket

import trio

from tests.spawn.test_backend import SOON, is_there, make_spec, open_child, share_backend
from tractor._errors import Exit
from tractor.spawn._backend import SHARING, ChildSpec
from tractor.testing import _procs


async def test_what_a_backend_keeps_ends_with_the_block(backend: str) -> None:
    """Where it keeps something; before it is needed there is nothing."""
    before = _procs.all_pids()
    async with share_backend(backend):
        async with open_child(backend) as running:
            await running.wait_up()
            child = running.child.where
        async with open_child(backend) as running:
            await running.wait_up()
            assert running.child.where != child
    ours = [_procs.read_proc(pid) for pid in _procs.all_pids() - before]
    assert not [proc for proc in ours if proc is not None and proc.parent == os.getpid()]


async def test_a_child_comes_up_on_its_inherited_channel(backend: str) -> None:
    """It is there once started, knows its own name, and says where it listens."""
    spec = make_spec(name="somebody")
    async with open_child(backend, spec) as running:
        assert running.child.exit is None
        assert is_there(running.child)
        assert str(running.child.pid) in running.child.where
        with trio.fail_after(SOON):
            hello = await running.wait_up()
        assert (hello.name, hello.uuid, hello.pid) == ("somebody", spec.uuid, running.child.pid)
        assert len(hello.addrs) == 1


async def test_hanging_up_ends_a_child_in_order(backend: str) -> None:
    """The channel is not needed for it."""
    async with open_child(backend) as running:
        await running.wait_up()
        running.child.hang_up()
        assert await running.wait_end() == Exit("returned", 0)
        assert running.child.exit == Exit("returned", 0)
        assert not is_there(running.child)


async def test_hanging_up_twice_is_no_error(backend: str) -> None:
    """Neither is it after the end."""
    async with open_child(backend) as running:
        await running.wait_up()
        running.child.hang_up()
        running.child.hang_up()
        await running.wait_end()
        running.child.hang_up()


async def test_hanging_up_ends_a_child_that_is_not_up_yet(backend: str) -> None:
    """However little of it there is already."""
    async with open_child(backend) as running:
        running.child.hang_up()
        assert (await running.wait_end()).how in ("returned", "died")


async def test_an_interrupt_ends_an_idle_child(backend: str) -> None:
    """In order: nothing was running that had to be torn."""
    async with open_child(backend) as running:
        await running.wait_up()
        running.child.interrupt()
        assert await running.wait_end() == Exit("returned", 0)


async def test_killing_a_child_is_reported_as_that(backend: str) -> None:
    """The report says that it was our doing, and with what."""
    async with open_child(backend) as running:
        await running.wait_up()
        running.child.kill()
        exit_ = await running.wait_end()
        assert exit_.how == "killed"
        assert str(exit_) == ("killed" if backend in SHARING else "killed by SIGKILL")
        assert not is_there(running.child)


async def test_steps_taken_after_the_end_do_nothing(backend: str) -> None:
    """The ladder need not know that it has come too late."""
    async with open_child(backend) as running:
        await running.wait_up()
        running.child.kill()
        first = await running.wait_end()
        running.child.hang_up()
        running.child.interrupt()
        running.child.kill()
        assert running.child.exit == first


async def test_a_cancelled_backend_kills_and_waits(backend: str) -> None:
    """Once it lets go, the child is gone and the record says so."""
    async with open_child(backend) as running:
        await running.wait_up()
    assert running.child.exit is not None
    assert running.child.exit.how == "killed"
    assert not is_there(running.child)
    assert running.exit is None


async def test_a_backend_that_is_cancelled_at_once_leaves_nothing(backend: str) -> None:
    """Not even a child that has not read its specification."""
    with trio.move_on_after(0.01):
        async with open_child(backend):
            await trio.sleep_forever()


async def test_the_parents_end_of_the_channel_belongs_to_whoever_took_it(backend: str) -> None:
    """What a child said before its end can still be read behind it."""
    async with open_child(backend) as running:
        await running.wait_up()
        running.child.kill()
        await running.wait_end()
        assert running.child.channel.fileno() != -1
        assert running.child.channel.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM


async def test_a_child_that_cannot_read_its_specification_tells_why(backend: str) -> None:
    """What it wrote before it was up is kept, also behind its end."""
    async with open_child(backend, make_spec(boot=b"\xc1")) as running:
        exit_ = await running.wait_end()
        assert exit_.how == "died"
        assert exit_.code == 1
        assert "DecodeError" in running.child.boot_output()


async def test_a_specification_larger_than_any_buffer_arrives(backend: str) -> None:
    """The parent's loop goes on turning meanwhile, and nobody waits for the other."""
    spec = make_spec()
    path = [*spec.sys_path, *(f"/nowhere/{number:0200}" for number in range(10_000))]
    async with open_child(backend, ChildSpec(spec.name, spec.uuid, path, spec.boot)) as running:
        with trio.fail_after(SOON):
            await running.wait_up()


async def test_no_child_holds_the_lifeline_of_another(backend: str) -> None:
    """Each is ended alone, whatever order they were made in."""
    async with open_child(backend) as first, open_child(backend) as second, open_child(backend) as third:
        for running in (first, second, third):
            await running.wait_up()
        for running in (second, first, third):
            running.child.hang_up()
            assert await running.wait_end() == Exit("returned", 0)
            left = [one for one in (first, second, third) if one.exit is None]
            assert all(is_there(one.child) for one in left)


async def test_no_child_holds_the_channel_of_another(backend: str) -> None:
    """The end of a child is the end of its channel, or whoever reads it would wait for ever."""
    async with open_child(backend) as first, open_child(backend) as second:
        await first.wait_up()
        await second.wait_up()
        first.child.kill()
        await first.wait_end()
        with trio.fail_after(SOON):
            await first.channel.run(lambda *frame: None)
        assert not first.channel.connected()
        assert second.channel.connected()


async def test_a_child_lets_go_of_its_lifeline_when_it_dies(backend: str) -> None:
    """And not before; so the parent can tell its death from the loss of the channel alone."""
    async with open_child(backend) as running:
        assert not running.child.has_let_go()
        await running.wait_up()
        assert not running.child.has_let_go()
        running.child.kill()
        with trio.fail_after(SOON):
            while not running.child.has_let_go():
                await trio.sleep(0.001)
        await running.wait_end()
        assert running.child.has_let_go()


async def test_a_child_that_was_hung_up_on_has_let_go(backend: str) -> None:
    """Nothing will be seen there any more; its end is near anyway."""
    async with open_child(backend) as running:
        await running.wait_up()
        running.child.hang_up()
        assert running.child.has_let_go()
        await running.wait_end()


async def test_many_at_once(backend: str) -> None:
    """Starting them together is not slower than one after the other, and none is mixed up with another."""
    names: list[str] = []

    async def run_one(name: str) -> None:
        async with open_child(backend, make_spec(name=name)) as running:
            names.append((await running.wait_up()).name)
            running.child.hang_up()
            await running.wait_end()

    with trio.fail_after(SOON * 2):
        async with share_backend(backend), trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(run_one, f"kid{number}")
    assert sorted(names) == [f"kid{number}" for number in range(8)]

"""Which error the opener hears of when its own request to end meets an error over there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio

from tests.programs import linked
from tests.shared import Tree, in_tree, named, open_tree
from tractor import ContextCancelled, RemoteActorError

SOON = 5.0


@pytest.fixture(scope="module")
def transport(request: pytest.FixtureRequest) -> str:
    """The transport of the shared tree: all tests run over the first, then all over the next."""
    key: str = request.param
    return key


@pytest.fixture(scope="module")
def tree(transport: str) -> Iterator[Tree]:
    """A root and a child that all tests share."""
    with open_tree(transport, linked.__name__) as tree:
        yield tree


@named("in_nursery", False, True)
@named("ending", "raise", "mask", "wait", "nothing", "caught")
@in_tree
async def test_unmasked_remote_exc(tree: Tree, ending: str, in_nursery: bool) -> None:
    """An error in the clean-up, or one on its way out, is relayed although `cancel()` has masked it; else the call is silent."""
    raised: BaseException | None = None
    name = f"{ending} {in_nursery}"
    delay = 0.001 if ending in ("wait", "caught") else 0.0
    with trio.fail_after(SOON):
        try:
            async with tree.portal.open_context(
                linked.wait_then, ending=ending, name=name, delay=delay, in_nursery=in_nursery
            ) as (ctx, _):
                if delay:
                    await tree.portal.run(linked.wait_unwound, name=f"{name} raised")
                await ctx.cancel()
                result: object = await ctx.wait_for_result()  # type: ignore[func-returns-value]
                assert isinstance(result, ContextCancelled)
                assert result is ctx.outcome is ctx.maybe_error
                assert result.canceller == tree.us
        except RemoteActorError as exc:
            raised = exc
    if ending in ("nothing", "caught"):
        assert raised is None
        assert ctx.cancel_acked
        return
    assert isinstance(raised, RemoteActorError)
    assert not isinstance(raised, ContextCancelled)
    group = in_nursery and ending == "raise"
    assert raised.boxed_type is raised.src_type is (ExceptionGroup if group else RuntimeError)
    assert ("on its own" if ending == "wait" else "in the clean-up") in raised.tb_str
    assert raised.src_uid == tree.them
    assert raised is ctx.outcome is ctx.maybe_error is ctx._remote_error
    assert (ctx.cancel_called, ctx.cancel_acked) == (True, False)

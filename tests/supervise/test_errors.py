"""Which exception leaves a nursery."""

import pytest
import trio

from tractor._errors import ActorFailure, Exit, TransportClosed
from tractor.msg._boxed import ContextCancelled, RemoteActorError
from tractor.supervise._errors import combine, gave_way

KILLED = Exit("died", -9)


def cancelled() -> ContextCancelled:
    """Return a confirmed cancellation."""
    return ContextCancelled("cancelled", boxed_type=trio.Cancelled, canceller=("root", "uuid"))


def test_nothing_went_wrong() -> None:
    """Then nothing is raised."""
    assert combine(None, []) is None


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), RemoteActorError("x")])
def test_one_error_is_raised_bare(error: BaseException) -> None:
    """Whether it is the body's or a child's."""
    assert combine(error, []) is error
    assert combine(None, [error]) is error


def test_the_same_error_counts_once() -> None:
    """A body that re-raises what it got from a child has no error of its own."""
    error = RemoteActorError("x")
    assert combine(error, [error]) is error


@pytest.mark.parametrize("count", [2, 3, 25])
def test_several_errors_are_a_group_of_exactly_as_many(count: int) -> None:
    """None is lost, none is doubled; a group of plain exceptions is an `ExceptionGroup`."""
    errors: list[BaseException] = [RemoteActorError(str(n)) for n in range(count)]
    group = combine(None, errors)
    assert type(group) is ExceptionGroup
    assert list(group.exceptions) == errors
    assert group.message == "tractor.ActorNursery errored with"


def test_the_body_comes_first_in_a_group() -> None:
    """Readers look for what they wrote themselves."""
    own, child = ValueError("own"), RemoteActorError("child")
    group = combine(own, [child])
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (own, child)


def test_an_interrupt_is_never_hidden() -> None:
    """A group with one is no plain `ExceptionGroup`."""
    group = combine(KeyboardInterrupt(), [RemoteActorError("x")])
    assert isinstance(group, BaseExceptionGroup)
    assert not isinstance(group, ExceptionGroup)


def test_a_cancellation_never_stands_beside_a_real_error() -> None:
    """It is what the error caused."""
    error = RemoteActorError("x")
    assert combine(None, [cancelled(), error, cancelled()]) is error


@pytest.mark.parametrize(
    "own", [ValueError("own"), KeyboardInterrupt(), ExceptionGroup("g", [OSError(), cancelled()])]
)
def test_a_cancelled_child_never_stands_beside_an_error_of_the_body(own: BaseException) -> None:
    """Whoever waits for the child's function is told."""
    assert combine(own, [cancelled()]) is own


@pytest.mark.parametrize("own", [cancelled(), ExceptionGroup("g", [cancelled(), cancelled()])])
def test_a_cancellation_that_the_body_raises_gives_way_to_a_real_error(own: BaseException) -> None:
    """Alone it is reported, beside those of children it is one of them."""
    error, other = RemoteActorError("x"), cancelled()
    assert combine(own, [error]) is error
    assert combine(own, []) is own
    group = combine(own, [other])
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (own, other)


def test_a_cancellation_that_gave_way_stays_visible() -> None:
    """As the context of the error, unless that has one of its own."""
    own, error, before = cancelled(), RemoteActorError("x"), ValueError("before")
    assert gave_way(own, error)
    assert error.__context__ is own
    error.__context__ = before
    assert gave_way(own, error)
    assert error.__context__ is before
    for other in (None, ValueError("own"), error):
        assert not gave_way(other, error)
    assert not gave_way(own, ExceptionGroup("g", [own, cancelled()]))


def test_a_cancellation_alone_is_reported() -> None:
    """Somebody else's cancellation is all there is to say."""
    error = cancelled()
    assert combine(None, [error]) is error


async def test_the_bodys_own_cancellation_gives_way_to_a_real_error() -> None:
    """Which then leaves bare; without one the cancellation goes on to its scope."""
    error = RemoteActorError("x")
    with trio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(trio.Cancelled) as caught:
            await trio.lowlevel.checkpoint()
        own = caught.value
        assert combine(own, []) is own
        assert combine(own, [error]) is error
        assert combine(own, [cancelled()]) is own


def test_a_lost_connection_is_dropped_beside_the_failure_that_it_was() -> None:
    """The body's `TransportClosed` becomes the cause of the child's failure, which says the same and more."""
    own = TransportClosed("the connection broke", peer="kid@1", exit=KILLED)
    failure = ActorFailure("it ended unasked", name="kid", exit=KILLED)
    assert combine(own, [failure]) is failure
    assert failure.__cause__ is own


def test_a_lost_connection_whose_end_was_not_known_is_dropped_as_well() -> None:
    """The waiter was told before the exit status was."""
    own = TransportClosed("the connection broke", peer="kid@1")
    failure = ActorFailure("it ended unasked", name="kid", exit=KILLED)
    assert combine(own, [failure]) is failure


def test_lost_connections_of_several_tasks_are_dropped_together() -> None:
    """A body with a nursery of its own loses many calls at once; what has nothing to do with it is kept."""
    lost = [TransportClosed("the connection broke", peer="kid@1", exit=KILLED) for _ in range(3)]
    failure = ActorFailure("it ended unasked", name="kid", exit=KILLED)
    assert combine(ExceptionGroup("tasks", lost), [failure]) is failure
    assert isinstance(failure.__cause__, ExceptionGroup)
    assert list(failure.__cause__.exceptions) == lost
    other = ValueError("x")
    group = combine(ExceptionGroup("tasks", [other, *lost]), [failure])
    assert isinstance(group, ExceptionGroup)
    assert isinstance(group.exceptions[0], ExceptionGroup)
    assert group.exceptions[0].exceptions == (other,)
    assert group.exceptions[1:] == (failure,)


def test_the_loss_of_a_sibling_that_ended_likewise_is_kept() -> None:
    """Two were killed in the same way; each failure takes its own loss along only."""
    own = TransportClosed("the connection broke", peer="other@2", exit=KILLED)
    failure = ActorFailure("it ended unasked", name="kid", exit=KILLED)
    group = combine(own, [failure])
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (own, failure)


def test_a_cause_that_is_known_is_kept() -> None:
    """The child's own traceback says more than the loss of its channel."""
    cause = RemoteActorError("import failed")
    failure = ActorFailure("it failed to boot", name="kid", exit=KILLED)
    failure.__cause__ = cause
    assert combine(TransportClosed("gone", peer="kid@1", exit=KILLED), [failure]) is failure
    assert failure.__cause__ is cause


def test_the_loss_of_another_peer_is_kept() -> None:
    """A connection that has nothing to do with the failed child is an error of its own."""
    own = TransportClosed("the connection broke", peer="stranger@2", exit=Exit("died", 3))
    failure = ActorFailure("it ended unasked", name="kid", exit=KILLED)
    group = combine(own, [failure])
    assert isinstance(group, ExceptionGroup)
    assert group.exceptions == (own, failure)

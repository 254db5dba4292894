"""The exceptions that need no runtime, and `Exit`."""

import copy
import logging
import signal

import pytest

from tractor import _errors
from tractor._errors import (
    ActorFailure,
    ActorTooSlowError,
    AsyncioCancelled,
    AsyncioTaskExited,
    DebugRequestError,
    Exit,
    InternalError,
    LocalProtocolError,
    MessagingError,
    ModuleNotExposed,
    NoResult,
    NoRuntime,
    ProtocolError,
    RemoteProtocolError,
    RuntimeFailure,
    TooManyRequests,
    TransportClosed,
    TrioCancelled,
    TrioTaskExited,
)


@pytest.mark.parametrize(
    ("exit", "text"),
    [
        (Exit("returned"), "exited cleanly"),
        (Exit("returned", 0), "exited cleanly"),
        (Exit("returned", 3), "exit status 3"),
        (Exit("died", 0), "exit status 0"),
        (Exit("died", 3), "exit status 3"),
        (Exit("died", -signal.SIGSEGV), "killed by SIGSEGV"),
        (Exit("died"), "died"),
        (Exit("killed", -signal.SIGKILL), "killed by SIGKILL"),
        (Exit("killed", -(signal.SIGRTMIN + 1)), f"killed by signal {signal.SIGRTMIN + 1}"),
        (Exit("killed", 1), "killed, exit status 1"),
        (Exit("killed"), "killed"),
        (Exit("abandoned"), "abandoned"),
        (Exit("abandoned", None, "still in time.sleep()"), "abandoned: still in time.sleep()"),
        (Exit("died", 1, "before its first message"), "exit status 1: before its first message"),
    ],
)
def test_an_exit_says_in_words_how_the_child_ended(exit: Exit, text: str) -> None:  # noqa: A002 (the field)
    """The status, the name of the signal or the verdict, then the detail."""
    assert str(exit) == text


def test_an_exit_is_a_value() -> None:
    """Equal facts are equal exits, and nobody can change them."""
    assert Exit("died", 3) == Exit("died", 3)
    assert hash(Exit("died", 3)) == hash(Exit("died", 3))
    with pytest.raises(AttributeError):
        Exit("died", 3).code = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("exc_type", "base"),
    [
        (RuntimeFailure, RuntimeError),
        (ActorFailure, RuntimeFailure),
        (ActorTooSlowError, RuntimeFailure),
        (TooManyRequests, RuntimeFailure),
        (InternalError, RuntimeError),
        (NoRuntime, RuntimeError),
        (NoResult, RuntimeError),
        (ModuleNotExposed, ModuleNotFoundError),
        (MessagingError, Exception),
        (ProtocolError, MessagingError),
        (LocalProtocolError, ProtocolError),
        (RemoteProtocolError, ProtocolError),
        (TransportClosed, Exception),
        (DebugRequestError, RuntimeError),
        (AsyncioCancelled, Exception),
        (AsyncioTaskExited, Exception),
        (TrioCancelled, Exception),
        (TrioTaskExited, Exception),
    ],
)
def test_each_exception_refines_the_builtin_it_is_documented_to(
    exc_type: type[Exception], base: type[Exception]
) -> None:
    """Handlers written for the base see it, those for anything narrower do not."""
    assert exc_type.__bases__ == (base,)


def test_all_names_every_public_exception() -> None:
    """`__all__` has exactly the public classes defined in the module."""
    defined = {
        name
        for name, value in vars(_errors).items()
        if isinstance(value, type) and not name.startswith("_") and value.__module__.startswith("tractor")
    }
    assert set(_errors.__all__) == defined


def test_a_protocol_error_must_blame_somebody() -> None:
    """The base refuses to be made; its subclasses do not."""
    with pytest.raises(TypeError, match="LocalProtocolError"):
        ProtocolError("nobody's fault")
    assert str(LocalProtocolError("ours")) == "ours"
    assert str(RemoteProtocolError("theirs")) == "theirs"


def test_an_actor_failure_reports_the_facts_it_has() -> None:
    """Name, body, message, exit and the indented end of stderr, each only where known."""
    failure = ActorFailure(
        "no hello within 30 s",
        name="bob",
        where="trio",
        exit=Exit("died", 3),
        stderr_tail="Traceback …\nSyntaxError: invalid syntax\n",
    )
    assert str(failure) == (
        "actor 'bob' (trio): no hello within 30 s: exit status 3\n"
        "the end of its stderr:\n"
        "  Traceback …\n"
        "  SyntaxError: invalid syntax"
    )
    assert str(ActorFailure("just this")) == "just this"
    assert str(ActorFailure(name="bob", exit=Exit("died", -9))) == "actor 'bob' failed: killed by SIGKILL"
    assert str(ActorFailure()) == "an actor failed"


def test_an_actor_failure_keeps_its_fields() -> None:
    """Callers read fields, not the sentence."""
    failure = ActorFailure("m", name="n", where="w", exit=Exit("died"), stderr_tail="t")
    facts = (failure.message, failure.name, failure.where, failure.exit, failure.stderr_tail)
    assert facts == ("m", "n", "w", Exit("died"), "t")


@pytest.mark.parametrize(
    "exc",
    [
        ActorFailure("m", name="n", exit=Exit("died", 1)),
        LocalProtocolError("m"),
        TransportClosed("m", "debug", ValueError("cause"), peer="p"),
    ],
)
def test_errors_with_fields_survive_a_copy(exc: Exception) -> None:
    """Tools that hand exceptions on copy them; text and fields stay."""
    clone = copy.copy(exc)
    assert type(clone) is type(exc)
    assert str(clone) == str(exc)
    assert vars(clone) == vars(exc)


def test_a_closed_transport_names_the_peer_and_how_it_ended() -> None:
    """Both, either or neither, in brackets."""
    assert str(TransportClosed("closed")) == "closed"
    assert str(TransportClosed("closed", peer="bob@7")) == "closed (bob@7)"
    assert str(TransportClosed("closed", exit=Exit("died", 3))) == "closed (exit status 3)"
    both = TransportClosed("closed", peer="bob@7", exit=Exit("died", -9))
    assert str(both) == "closed (bob@7, killed by SIGKILL)"
    assert (both.peer, both.exit) == ("bob@7", Exit("died", -9))


def test_a_closed_transport_is_caused_by_its_low_level_error() -> None:
    """`src_exc` is the cause even where nobody wrote `from`."""
    cause = ConnectionResetError("by peer")
    closed = TransportClosed.from_src_exc(cause, "closed", "while sending", peer="bob", loglevel="info")
    assert closed.__cause__ is closed.src_exc is cause
    assert (closed.message, closed.peer, closed.loglevel) == ("closed\nwhile sending", "bob", "info")
    assert TransportClosed("closed").__cause__ is None


def test_pformat_shows_the_cause() -> None:
    """The type and text on the first line, the cause on the last."""
    closed = TransportClosed("closed", src_exc=OSError("gone"), peer="bob")
    assert closed.pformat() == "TransportClosed: closed (bob)\ncaused by: OSError('gone')"
    assert TransportClosed("closed").pformat() == "TransportClosed: closed"


@pytest.mark.parametrize(
    ("loglevel", "number"),
    [("error", logging.ERROR), ("INFO", logging.INFO), ("no such level", logging.DEBUG)],
)
def test_a_report_is_logged_at_the_level_of_the_error(
    caplog: pytest.LogCaptureFixture, loglevel: str, number: int
) -> None:
    """Once, with the caller's words in front; an unknown level counts as debug."""
    caplog.set_level(1, "tractor")
    TransportClosed("closed", loglevel).report_n_maybe_raise("while reading")
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (number, "while reading\nTransportClosed: closed")
    ]


def test_a_report_raises_only_where_asked_to() -> None:
    """The error itself, from its cause."""
    cause = OSError("gone")
    closed = TransportClosed("closed", src_exc=cause, raise_on_report=True)
    with pytest.raises(TransportClosed) as caught:
        closed.report_n_maybe_raise()
    assert caught.value is closed
    assert caught.value.__cause__ is cause

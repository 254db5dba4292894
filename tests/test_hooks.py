"""The listeners of tractor._hooks."""

import logging

import pytest

from tractor._hooks import announce_crash, announce_kill, on_crash, on_kill


def test_an_announcement_reaches_every_listener_in_the_order_they_were_added() -> None:
    """Two listeners hear the same error, the first added first."""
    heard: list[tuple[str, BaseException]] = []
    error = ValueError("boom")
    with (
        on_crash(lambda exc: heard.append(("first", exc))),
        on_crash(lambda exc: heard.append(("second", exc))),
    ):
        announce_crash(error)
    assert heard == [("first", error), ("second", error)]


def test_nobody_listens_once_the_block_is_left() -> None:
    """A listener is gone after its block, also when the block ends with an error."""
    heard: list[tuple[str, str]] = []

    def listen_and_fail() -> None:
        with on_kill(lambda child, why: heard.append((child, why))):
            announce_kill("worker@7", "its grace is over")
            raise KeyError

    with pytest.raises(KeyError):
        listen_and_fail()
    announce_kill("worker@8", "nobody hears this")
    assert heard == [("worker@7", "its grace is over")]


def test_announcing_without_listeners_does_nothing() -> None:
    """The runtime announces whether or not anybody is there."""
    announce_crash(ValueError("unheard"))
    announce_kill("worker@7", "unheard")


def test_a_listener_that_raises_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the announcer nor the next listener notices, and the log has the traceback."""
    heard: list[BaseException] = []

    def bad(exc: BaseException) -> None:
        raise RuntimeError("the listener's own bug")

    error = ValueError("boom")
    with caplog.at_level(logging.ERROR, "tractor"), on_crash(bad), on_crash(heard.append):
        announce_crash(error)
    assert heard == [error]
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "the listener's own bug"


def test_ctrl_c_inside_a_listener_is_not_swallowed() -> None:
    """A KeyboardInterrupt is the user's, so it leaves the announcement."""

    def interrupted(exc: BaseException) -> None:
        raise KeyboardInterrupt

    with on_crash(interrupted), pytest.raises(KeyboardInterrupt):
        announce_crash(ValueError("boom"))


def test_one_function_may_listen_twice_and_leave_once() -> None:
    """Nested blocks of the same listener end one by one."""
    heard: list[BaseException] = []
    with on_crash(heard.append):
        with on_crash(heard.append):
            announce_crash(ValueError("heard twice"))
        announce_crash(ValueError("heard once"))
    assert [str(exc) for exc in heard] == ["heard twice", "heard twice", "heard once"]


def test_a_listener_that_leaves_during_the_announcement_disturbs_nobody() -> None:
    """The announcement goes to those who listened when it began."""
    heard: list[str] = []
    inner = on_crash(lambda exc: heard.append("inner"))

    def leave(exc: BaseException) -> None:
        heard.append("outer")
        inner.__exit__(None, None, None)

    with on_crash(leave):
        inner.__enter__()
        announce_crash(ValueError("boom"))
    assert heard == ["outer", "inner"]

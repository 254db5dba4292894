"""The messages of a context as people name them."""

import pytest

from tractor.msg import _messages
from tractor.msg._messages import BY_NAME, PayloadMsg, Return, Started, Stop, Yield


def test_each_is_found_by_the_name_that_travels() -> None:
    """The name of the class, nothing else."""
    assert {"Started": Started, "Yield": Yield, "Return": Return, "Stop": Stop} == BY_NAME
    assert set(_messages.__all__) == {*BY_NAME, "BY_NAME", "PayloadMsg"}


@pytest.mark.parametrize("kind", [Started, Yield, Return])
def test_a_message_with_a_payload_is_a_value(kind: type[PayloadMsg[int]]) -> None:
    """It can be made, compared and shown; it is no other message."""
    msg = kind("3", 5)
    assert (msg.cid, msg.pld) == ("3", 5)
    assert msg == kind(cid="3", pld=5)
    assert msg != PayloadMsg("3", 5)
    assert repr(msg) == f"{kind.__name__}(cid='3', pld=5)"
    assert not hasattr(msg, "__dict__")


def test_the_end_of_a_stream_carries_nothing() -> None:
    """Only where it happened."""
    assert Stop("3").cid == "3"
    assert not isinstance(Stop("3"), PayloadMsg)


def test_each_is_shown_under_its_public_name() -> None:
    """Where programs import it from."""
    for kind in (PayloadMsg, *BY_NAME.values()):
        assert repr(kind) == f"<class 'tractor.msg.{kind.__name__}'>"

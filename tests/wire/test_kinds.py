"""The vocabulary of a channel."""

import pytest

from tractor.wire._dialog import RULES
from tractor.wire._kinds import FLAGS_OF, HEADER, HEADER_SIZE, MAX_BODY, URGENT, Flag, Kind


def test_the_header_is_16_bytes_and_holds_the_extremes_of_every_field() -> None:
    """Length, magic, kind, flags, dialog id: little endian, in that order, without padding."""
    assert HEADER_SIZE == 16
    numbers = (2**32 - 1, 0x1234, 255, 1, 2**64 - 2)
    packed = HEADER.pack(*numbers)
    assert packed == bytes.fromhex("ffffffff 3412 ff 01 feffffffffffffff")
    assert HEADER.unpack(packed) == numbers


def test_the_default_limit_is_64_mib_and_fits_the_length_field() -> None:
    """A limit over 4 GiB could never be reached."""
    assert MAX_BODY == 64 * 2**20 < 2**32


def test_the_numbers_on_the_wire_are_fixed() -> None:
    """Peers of different versions must agree on them: a number is never given a new meaning."""
    assert {kind.name: kind.value for kind in Kind} == {
        "HELLO": 1,
        "BYE": 2,
        "PING": 3,
        "PONG": 4,
        "START": 16,
        "STARTED": 17,
        "STREAM": 18,
        "ITEM": 19,
        "STOP": 20,
        "CREDIT": 21,
        "CANCEL": 22,
        "RETURN": 23,
        "ERROR": 24,
        "DEADLINE": 25,
    }
    assert {flag.name: flag.value for flag in Flag} == {"CONTEXT": 1, "CREDITED": 2, "BACKPRESSURE": 4}


def test_what_carries_the_data_of_a_stream_and_what_ends_things_in_order_is_not_urgent() -> None:
    """ITEM must not overtake ITEM, and neither STOP, RETURN nor BYE may overtake what they put an end to."""
    assert set(Kind) - URGENT == {Kind.STREAM, Kind.ITEM, Kind.STOP, Kind.RETURN, Kind.BYE}
    # The numbers of a frame are plain ones.
    assert int(Kind.CREDIT) in URGENT
    assert int(Kind.ITEM) not in URGENT


@pytest.mark.parametrize("flag", Flag)
def test_every_flag_qualifies_exactly_one_kind(flag: Flag) -> None:
    """A flag nobody knows could not be sent; one with two meanings would be misread."""
    assert len([kind for kind, flags in FLAGS_OF.items() if flag in flags]) == 1


def test_the_dialogs_speak_of_every_kind_from_16_on_and_of_no_other() -> None:
    """Kinds below 16 belong to the channel; a dialog refuses them in every state."""
    spoken = {
        kind
        for rules in RULES.values()
        for moves in rules.moves.values()
        for kinds in moves.values()
        for kind in kinds
    }
    assert spoken == {kind for kind in Kind if kind >= 16}

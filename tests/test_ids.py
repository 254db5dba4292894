"""Who an actor is."""

import uuid

import pytest

from tractor._ids import Aid, new_uuid


def test_identity_is_the_uuid_alone() -> None:
    """What else is known of an actor makes no difference to equality or hash."""
    known = Aid("bob", "u1", 7, is_registrar=True)
    assert known == Aid("robert", "u1")
    assert hash(known) == hash(Aid("robert", "u1"))
    assert known != Aid("bob", "u2", 7, is_registrar=True)
    assert known != ("bob", "u1")
    assert len({known, Aid("x", "u1"), Aid("bob", "u2")}) == 2


def test_uid_is_name_and_uuid() -> None:
    """The pair in which errors name an actor."""
    assert Aid("bob", "u1", 7).uid == ("bob", "u1")


def test_the_short_form_is_name_at_pid() -> None:
    """Without a pid only the name, with the uuid where asked for."""
    aid = Aid("bob", "u1", 7)
    assert str(aid) == aid.reprol() == f"{aid}" == "bob@7"
    assert aid.reprol(sin_uuid=False) == "bob@7[u1]"
    assert str(Aid("bob", "u1")) == "bob"
    assert str(Aid("bob", "u1", 0)) == "bob@0"


def test_an_identity_cannot_be_changed() -> None:
    """It is a key in tables all over the runtime."""
    with pytest.raises(AttributeError):
        Aid("bob", "u1").name = "eve"  # type: ignore[misc]


def test_a_new_uuid_is_a_random_one_in_the_usual_form() -> None:
    """Version 4, the standard variant, as the standard library writes it, and never twice."""
    made = [new_uuid() for _ in range(1000)]
    assert len(set(made)) == 1000
    for text in made:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)

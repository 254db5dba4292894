"""The registry's table: who holds which addresses, and which name means whom."""

import pytest

from tractor.discovery._table import Entry, Table


def make_table(*specs: str) -> Table:
    """Return a table of `name:uuid:addr,addr:keeper` entries; the keeper is the actor itself where none is given."""
    table = Table()
    for spec in specs:
        name, uuid, addrs, *keeper = spec.split(":")
        table.add(Entry(name, uuid, addrs.split(",") if addrs else [], keeper[0] if keeper else uuid))
    return table


def uuids(table: Table) -> list[str]:
    """Return who is in it, oldest first."""
    return [entry.uuid for entry in table]


def test_an_empty_table_knows_nobody() -> None:
    """And nothing can be removed from it."""
    table = Table()
    assert len(table) == 0
    assert uuids(table) == []
    assert table.find("a") is None
    assert not table.remove("1")
    assert table.remove_addr("/x") is None
    table.remove_kept_by("1")


def test_an_actor_is_found_by_name_or_uuid() -> None:
    """By the whole of either; a part of it is no match, nor is an empty text."""
    table = make_table("ann:1-1:/x,/y", "bob:2-2:/z")
    found = table.find("ann")
    assert found is not None
    assert (found.uuid, found.addrs) == ("1-1", ["/x", "/y"])
    assert table.find("1-1") is found
    for part in ("an", "ann.1-1", "1", "", "ANN", "/x"):
        assert table.find(part) is None


def test_of_actors_of_one_name_the_newest_is_found() -> None:
    """The older ones stay, and are found again when it has gone; each always by its uuid."""
    table = make_table("ann:1:/x", "ann:2:/y", "bob:3:/z")
    assert len(table) == 3
    newest, older = table.find("ann"), table.find("1")
    assert newest is not None
    assert newest.uuid == "2"
    assert older is not None
    assert older.addrs == ["/x"]
    assert table.remove("2")
    assert table.find("ann") is older


def test_an_actor_that_registers_again_is_the_newest() -> None:
    """With its new addresses only."""
    table = make_table("ann:1:/x", "ann:2:/y", "ann:1:/z")
    assert uuids(table) == ["2", "1"]
    found = table.find("ann")
    assert found is not None
    assert found.addrs == ["/z"]
    assert table.remove_addr("/x") is None


def test_a_newcomer_evicts_whoever_held_one_of_its_addresses() -> None:
    """Nobody can listen where somebody else does, so the older one is gone; others are not touched."""
    table = make_table("ann:1:/x,/y", "bob:2:/z", "cid:3:/w", "dan:4:/y,/z")
    assert uuids(table) == ["3", "4"]


def test_an_actor_without_addresses_evicts_nobody() -> None:
    """It is in the table all the same."""
    table = make_table("ann:1:", "bob:2:", "cid:3:/x")
    assert uuids(table) == ["1", "2", "3"]


@pytest.mark.parametrize("addr", ["/x", "/y"])
def test_any_of_its_addresses_removes_an_actor(addr: str) -> None:
    """And tells who it was."""
    table = make_table("ann:1:/x,/y", "bob:2:/z")
    gone = table.remove_addr(addr)
    assert gone is not None
    assert (gone.name, gone.uuid) == ("ann", "1")
    assert uuids(table) == ["2"]
    assert table.remove_addr(addr) is None


def test_entries_go_with_the_connection_that_kept_them() -> None:
    """All of them, and no others."""
    table = make_table("mid:1:/x", "leaf:2:/y:1", "leaf:3:/z:1", "bob:4:/w")
    table.remove_kept_by("1")
    assert uuids(table) == ["4"]


def test_it_may_change_while_it_is_walked() -> None:
    """Who walks sees it as it was."""
    table = make_table("ann:1:/x", "bob:2:/y")
    seen = []
    for entry in table:
        table.remove("2")
        seen.append(entry.uuid)
    assert seen == ["1", "2"]
    assert len(table) == 1


def test_entries_of_a_keeper_that_does_not_answer_are_hidden() -> None:
    """And come back with it; who listens for changes hears of both, once. What is removed meanwhile stays away."""
    told: list[tuple[str, bool]] = []
    table = Table(lambda entry, present: told.append((entry.uuid, present)))
    for uuid in ("1", "2", "3"):
        table.add(Entry("ann", uuid, [f"/{uuid}"], "k" if uuid != "3" else "3"))
    assert told == [("1", True), ("2", True), ("3", True)]
    told.clear()
    for _ in range(2):
        table.note_answer("k", False)
    assert told == [("1", False), ("2", False)]
    assert uuids(table) == ["3"]
    assert table.find("1") is None
    assert len(table) == 3
    table.add(Entry("bob", "4", ["/4"], "k"))
    table.remove("2")
    assert told == [("1", False), ("2", False)]
    told.clear()
    for _ in range(2):
        table.note_answer("k", True)
    assert told == [("1", True), ("4", True)]
    assert uuids(table) == ["1", "3", "4"]
    table.note_answer("nobody", True)
    table.note_answer("k", False)
    table.remove_kept_by("k")
    table.add(Entry("ann", "5", [], "k"))
    assert told[-1] == ("5", True)
    assert table.keepers() == {"3", "k"}


def test_an_entry_that_is_registered_again_is_no_news() -> None:
    """Unless it has moved."""
    told: list[tuple[str, bool]] = []
    table = Table(lambda entry, present: told.append((entry.uuid, present)))
    for addrs in (["/x"], ["/x"], ["/y"]):
        table.add(Entry("ann", "1", addrs, "1"))
    assert told == [("1", True)] * 2
    assert table.remove_addr("/x") is None
    found = table.remove_addr("/y")
    assert found is not None
    assert table.keepers() == set()


def test_silence_of_somebody_who_keeps_nothing_is_not_noted() -> None:
    """Nothing is kept of those who have gone, however many there were."""
    table = make_table()
    for number in range(10):
        table.note_answer(f"k{number}", False)
    assert table._silent == set()

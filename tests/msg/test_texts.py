"""Values that travel as text."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.msg.libraries import MSGSPEC, PURE, assert_same, outcome

HALF_PAST = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    "value",
    [
        date(2020, 1, 2),
        datetime(2020, 1, 1),  # noqa: DTZ001 - without a zone it travels otherwise
        datetime(2020, 1, 1, 1, 2, 3, 456),  # noqa: DTZ001
        time(1, 2, 3, 4),
        time(1, 2),
        time(1, 2, tzinfo=UTC),
        time(1, 2, tzinfo=HALF_PAST),
        timedelta(0),
        timedelta(1, 2, 3),
        timedelta(-1),
        timedelta(microseconds=-500_000),
        timedelta.max,
        UUID(int=5),
        Decimal("1.50"),
        Decimal("-Infinity"),
        Decimal("1E+5"),
    ],
    ids=repr,
)
def test_a_value_is_written_and_read_alike(value: Any) -> None:
    """By both libraries, and comes back as it was."""
    assert_same(type(value), value)
    assert_same(Any, value)
    assert PURE.decoder(type(value))(MSGSPEC.encode(value)) == value


@given(
    st.dates()
    | st.times()
    | st.times(timezones=st.sampled_from([UTC, HALF_PAST]))
    | st.datetimes()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
)
def test_any_value_is_written_and_read_alike(value: Any) -> None:
    """Whatever it is."""
    assert_same(type(value), value)


TEXTS: dict[Any, str] = {
    datetime: """
        2020-01-01T00:00:00Z 2020-01-01t00:00:00z 2020-01-01T00:00:00.123456789Z 2020-01-01T00:00:00.1
        2020-01-01T00:00:00+05:30 2020-01-01T00:00:00-0530 2020-01-01T00:00:00-00:00 2020-01-01 x
        20200101T000000 2020-W01-1T00:00:00 2020-02-30T00:00:00 2020-01-01T24:00:00 2020-01-01T00:00:60Z
        2020-01-01T00:00:00+24:00 2020-01-01T00:00:00+05:60 2020-01-01T00:00 2020-01-01x00:00:00
        0000-01-01T00:00:00
    """,
    date: "2020-01-01 2020-1-1 2020-02-30 2020-01-01T00:00:00 x \u0662\u0660\u0662\u0660-01-01",
    time: "01:02:03z 01:02:03-00:00 01:02:03.1234567 01:02 24:00:00 01:02:60 01:02:03,5 010203 x",
    timedelta: """
        P1DT1H1M1.5S P1.5D +PT1S p1dt1h PT1.1234567S PT0.0000005S -PT0.5S P1W P1Y PT P P1DT PT1M1H PT1HS x
        P99999999999D
    """,
    UUID: """
        00000000000000000000000000000005 00000000-0000-0000-0000-00000000000a x
        {00000000-0000-0000-0000-000000000005} 0000000000000000-0000000000000005
        00000000-0000-0000-0000-00000000000G
    """,
    Decimal: "1_0 1e5 NaN Infinity x",
}


@pytest.mark.parametrize("spec", TEXTS)
def test_texts_are_read_or_refused_alike(spec: Any) -> None:
    """Also those that Python itself would take, and in the same words."""
    assert_same(spec, "", " 1 ", "2020-01-01 00:00:00Z", *TEXTS[spec].split())


@pytest.mark.parametrize("spec", [datetime, date, time, timedelta, UUID, Decimal])
def test_other_values_are_read_or_refused_alike(spec: Any) -> None:
    """Numbers are decimals, 16 bytes a UUID, points in time are themselves; nothing else is anything else."""
    assert_same(spec, None, True, 1, 2**64 - 1, 1.5, float("nan"), b"x", bytes(16), [1], {"a": 1})
    assert_same(spec, datetime(2020, 1, 1, tzinfo=UTC))


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_point_in_time_needs_no_spec(value: datetime) -> None:
    """One with a zone has its own form in msgpack."""
    assert_same(Any, value)
    assert PURE.decoder()(PURE.encode(value)) == value


@pytest.mark.parametrize(
    "body", [b"\xd7\xff" + b"\xff" * 8, b"\xd4\xff\x00", b"\xc7\x0c\xff" + b"\x00" * 4 + b"\x7f" * 8]
)
def test_an_impossible_point_in_time_is_refused(body: bytes) -> None:
    """By both."""
    assert outcome(MSGSPEC, Any, body)[0] == outcome(PURE, Any, body)[0] == "refused"

"""Values that travel as text: times, durations, UUIDs and decimals, written and read as msgspec does it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

__all__ = ["READERS", "WRITERS"]

_DAY = 86_400_000_000
_CLOCK = r"(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):?(\d\d))?"
_TIME = re.compile(_CLOCK, re.ASCII)
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_DATETIME = re.compile(rf"{_DATE.pattern}[Tt ]{_CLOCK}", re.ASCII)
_NUMBER = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(
    rf"([+-]?)P(?=[\dT])(?:{_NUMBER}D)?(?:T(?=\d)(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?",
    re.ASCII | re.IGNORECASE,
)
_UUID = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def _write_time(value: time) -> str:
    return value.isoformat().removesuffix("+00:00") + ("Z" if value.utcoffset() == timedelta(0) else "")


def _write_duration(value: timedelta) -> str:
    micros = value // timedelta(microseconds=1)
    days, rest = divmod(abs(micros), _DAY)
    text = f"{days}D" if days or not rest else ""
    if rest:
        seconds, part = divmod(rest, 1_000_000)
        text += f"T{seconds}" + (f".{part:06}".rstrip("0") if part else "") + "S"
    return f"{'-' if micros < 0 else ''}P{text}"


def _clock(parts: tuple[Any, ...]) -> tuple[tuple[int, int, int], int, timezone | None]:
    """Return hour, minute and second, then the microseconds, which may be a whole second, and the zone."""
    hour, minute, second, fraction, zulu, sign, hours, minutes = parts
    micros = _round(fraction) if fraction else 0
    zone = UTC if zulu else None
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        if int(hours) > 23 or int(minutes) > 59:
            raise ValueError("no such offset")
        zone = timezone(-offset if sign == "-" else offset) if offset else UTC
    return (int(hour), int(minute), int(second)), micros, zone


def _round(fraction: str) -> int:
    """Return the microseconds in the digits of a fraction of a second, halves rounded up."""
    return (int(fraction[:7].ljust(7, "0")) + 5) // 10


def _read_datetime(text: str) -> datetime:
    try:
        found = _DATETIME.fullmatch(text)
        if found:
            year, month, day, *rest = found.groups()
            clock, micros, zone = _clock(tuple(rest))
            whole = datetime(int(year), int(month), int(day), *clock, tzinfo=zone)
            return whole + timedelta(microseconds=micros)
    except (ValueError, OverflowError):
        pass
    raise ValueError("Invalid RFC3339 encoded datetime")


def _read_date(text: str) -> date:
    try:
        found = _DATE.fullmatch(text)
        if found:
            return date(*map(int, found.groups()))
    except ValueError:
        pass
    raise ValueError("Invalid RFC3339 encoded date")


def _read_time(text: str) -> time:
    try:
        found = _TIME.fullmatch(text)
        if found:
            clock, micros, zone = _clock(found.groups())
            # Rounded up to a second that the clock does not show, it is refused.
            return time(*clock, micros, tzinfo=zone)
    except ValueError:
        pass
    raise ValueError("Invalid RFC3339 encoded time")


def _read_duration(text: str) -> timedelta:
    found = _DURATION.fullmatch(text)
    if found is None:
        if re.search(r"[WY]|^[^T]*M", text, re.IGNORECASE) and text[:1] in "Pp+-":
            raise ValueError("Only units 'D', 'H', 'M', and 'S' are supported when parsing ISO8601 durations")
        raise ValueError("Invalid ISO8601 duration")
    sign, *numbers = found.groups()
    seconds = sum(
        Decimal(number) * unit for number, unit in zip(numbers, (86_400, 3_600, 60, 1), strict=True) if number
    )
    try:
        # Halves are rounded up, which the exact arithmetic of decimals leaves to us.
        micros = int(seconds * 1_000_000 + Decimal("0.5"))
        return timedelta(microseconds=-micros if sign == "-" else micros)
    except (OverflowError, InvalidOperation):
        raise ValueError("Duration is out of range") from None


def _read_uuid(value: str | bytes) -> UUID:
    if isinstance(value, bytes):
        if len(value) != 16:
            raise ValueError("Invalid UUID bytes")
        return UUID(bytes=value)
    if _UUID.fullmatch(value) is None:
        raise ValueError("Invalid UUID")
    return UUID(value)


def _read_decimal(value: str | float) -> Decimal:
    try:
        return Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise ValueError("Invalid decimal string") from None


def _as_is(value: datetime) -> datetime:
    return value


#: What turns an object of exactly this type into text. Points in time with a zone have a form of their own in msgpack.
WRITERS: dict[type, Any] = {
    date: date.isoformat,
    time: _write_time,
    timedelta: _write_duration,
    UUID: str,
    Decimal: str,
}

#: For each type what it is called in errors and what makes it of each type that arrives; raises `ValueError`.
READERS: dict[Any, tuple[str, dict[type, Any]]] = {
    datetime: ("datetime", {str: _read_datetime, datetime: _as_is}),
    date: ("date", {str: _read_date}),
    time: ("time", {str: _read_time}),
    timedelta: ("duration", {str: _read_duration}),
    UUID: ("uuid", {str: _read_uuid, bytes: _read_uuid}),
    Decimal: ("decimal", {str: _read_decimal, int: _read_decimal, float: _read_decimal}),
}

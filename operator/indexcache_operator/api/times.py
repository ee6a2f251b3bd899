"""Times and durations as the API writes them. Inside the operator they are aware datetimes and timedeltas."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from indexcache_core.bounds import Span
from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
LONGEST = timedelta(days=36500)
"""A longer duration counts as this one: added to a time it would leave the calendar."""
_UNITS = {
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}


def parse(text: str) -> timedelta:
    """Parse a duration as Go and the Gateway API write it: "1h30m", "90s", "250ms".

    Raises:
        ValueError: The text is none, as the API server's pattern would say too.
    """
    if re.fullmatch(PATTERN, text) is None:
        raise ValueError(
            f"found {text!r}; expected a duration like 90s or 1h30m; write numbers with h, m, s or ms"
        )
    parts = re.findall(r"([0-9.]+)(ms|s|m|h)", text)
    seconds = sum(float(number) * _UNITS[unit].total_seconds() for number, unit in parts)
    return timedelta(seconds=min(seconds, LONGEST.total_seconds()))


def text(duration: timedelta) -> str:
    """Write a duration of whole milliseconds in the largest unit that divides it: "2h", "90s", "0s"."""
    unit = next(
        (u for u, length in _UNITS.items() if duration and not duration % length),
        "s" if not duration else "ms",
    )
    return f"{duration // _UNITS[unit]}{unit}"


def stamp(time: datetime) -> str:
    """Write a time by RFC 3339, in UTC and milliseconds: steps may be shorter than a rounded second
    allows.
    """
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parsed(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse(value)
    raise ValueError(f"found {value!r}; expected a duration in text; write it like 90s or 1h30m")


def _absent(value: object) -> object:
    return None if value == "" else value  # as older versions wrote a time that never was


def _seconds(duration: timedelta) -> float:
    return duration.total_seconds()


Time = Annotated[datetime, AwareDatetime, PlainSerializer(stamp, return_type=str, when_used="json")]
MaybeTime = Annotated[Time | None, BeforeValidator(_absent)]
Duration = Annotated[
    timedelta,
    BeforeValidator(_parsed),
    PlainSerializer(text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "maxLength": 32}),
]
"""In the API a text; inside a timedelta."""
SPAN = "x-duration"
"""Where a field's JSON schema says its least and its most: there is no such keyword for durations."""


@dataclass(frozen=True)
class Within:
    """Stands beside `Duration` in a field's type: the range that it must lie in."""

    span: Span

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), SPAN: {"least": text(self.span.least), "most": text(self.span.most)}}

    def _check(self, duration: timedelta) -> timedelta:
        if duration in self.span:
            return duration
        raise ValueError(
            f"found {text(duration)}; expected a duration from {text(self.span.least)} to "
            f"{text(self.span.most)}; write one in between"
        )


Seconds = Annotated[
    timedelta,
    PlainSerializer(_seconds, return_type=float, when_used="json"),
    WithJsonSchema({"type": "number"}),
]
"""In the API a number of seconds; inside a timedelta."""


def default(duration: str) -> Any:  # Any: a text here, a timedelta once it is validated
    """Return the default of a field that is a Duration, as the CRD shows it."""
    return Field(default=duration, validate_default=True)

"""Times and durations as the API writes them. The planner has no clock of its own: `now` comes with the observation."""

import re
from datetime import UTC, datetime, timedelta

_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(duration: str) -> float:
    """ "1h30m" -> 5400.0. ValueError for what the API's pattern would refuse."""
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)", duration)
    if not parts or "".join(n + u for n, u in parts) != duration:
        raise ValueError(f"{duration!r} is not a duration like 90s or 1h30m")
    return sum(float(number) * _UNIT[unit] for number, unit in parts)


def stamp(now: datetime) -> str:
    """RFC 3339, UTC, milliseconds: steps may be shorter than a second's rounding allows."""
    return now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(text: str) -> datetime:
    """What `stamp` wrote."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def age(now: datetime, since: str) -> float:
    """Seconds since; 0 if it lies ahead (clocks of two operators differ) or was never."""
    return max((now - parse(since)).total_seconds(), 0.0) if since else 0.0


def later(text: str, by_seconds: float) -> str:
    """A time moved ahead."""
    return stamp(parse(text) + timedelta(seconds=by_seconds))

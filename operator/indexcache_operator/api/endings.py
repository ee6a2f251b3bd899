"""Holds how tries end and what they wait for, as parts of the status: status.py offers them too."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from indexcache_operator.api.base import Stored
from indexcache_operator.api.times import Time

Outcome = Literal["Promoted", "FellBack", "Superseded"]


class Origin(StrEnum):
    """Where the cause of an end or of a wait lies. Only the pattern's rejects a revision."""

    PATTERN = "Pattern"
    """Evidence on what is tried."""
    TRAFFIC = "Traffic"
    """Too few requests, or none of the kind that is wanted."""
    PLATFORM = "Platform"
    """The cluster, the gateway, engines, the operator."""
    USER = "User"
    """An edit, a kill, a pause."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FallbackStatus(Stored):
    """The intent to fall back; written before anything else about it is reported."""

    cause: str
    """In one word."""
    origin: Origin | None = None
    """Where the cause lies. None: written by an alert a moment ago, or by an older operator."""
    message: str = ""
    """For people."""
    since: Time
    """When it began."""
    revision: str
    """The revision that ends."""
    kill: str = ""
    """The value of `indexcache.dev/kill` that asked for it; it is tried again once that is taken away."""
    retried: str = ""
    """The value of `indexcache.dev/retry` when it began: used up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldStatus(Stored):
    """A canary that ended undecided: back in shadow with all its evidence, to be exposed again by itself."""

    cause: str
    """In one word."""
    origin: Origin
    """Where the cause lies."""
    message: str = ""
    """What was waited for in vain."""
    since: Time
    """When it began."""
    times: int = 1
    """How often this try was held so far. Each pause is twice as long as the one before, a day at most."""
    not_before: Time
    """Nobody is exposed before this time, unless the spec is edited or a retry is asked for."""
    requests_per_minute_needed: float | None = None
    """Nobody is exposed before users send so many. None: their number is not what was missing."""
    generation: int = 0
    """Of the spec that was held; another ends the hold."""
    retried: str = ""
    """The value of `indexcache.dev/retry` when it began: used up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitStatus(Stored):
    """What is waited for, for how long, and what a person can do about it."""

    origin: Origin
    """Where the cause lies."""
    reason: str
    """In one word."""
    message: str = ""
    """What is waited for."""
    observations: int | None = None
    """How many the slowest certificate has."""
    observations_needed: int | None = None
    """How many more it needs, if those to come are like those that came."""
    requests_per_minute: float | None = None
    """Users' requests, seen of late."""
    requests_per_minute_needed: float | None = None
    """At which the step would end within its deadline."""
    expected: str = ""
    """About how long, at the rate seen; empty where that can't be told."""
    way_out: str = ""
    """What a person can do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected(Stored):
    """A revision that is not tried again without `indexcache.dev/retry`."""

    revision: str
    """By name, as status.revision has it."""
    reason: str
    """The cause of its fallback."""
    message: str = ""
    """The figures."""
    at: Time
    """When it fell back."""
    retried: str = ""
    """The value of `indexcache.dev/retry` when it was rejected: used up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryEntry(Stored):
    """How one revision ended."""

    revision: str
    """By name."""
    pattern: str
    """What was tried; empty where the spec had gone by then."""
    outcome: Outcome
    """Promoted, FellBack, or Superseded by another try."""
    reason: str
    """Certified or Unguarded of what was promoted, else the cause."""
    origin: Origin | None = None
    """Where the reason lies; None where an older operator wrote it, and for what was promoted."""
    at: Time
    """When it ended."""

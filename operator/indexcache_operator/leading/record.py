"""Reads and writes a Lease, as far as an election needs it. Pure."""

from dataclasses import dataclass
from datetime import datetime

from indexcache_operator.api import epochs
from indexcache_operator.objects import Object

LAST_TERM = 2**31 - 1
"""The largest count of transitions that a Lease holds."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Holds a Lease as it was read or stored."""

    holder: str
    """Empty: nobody's."""
    seconds: float
    """How long the holder may be silent; 0 where it says nothing."""
    term: int
    version: str
    raw: Object
    """The whole object: what is replaced is the very one that was read."""


def read(raw: Object) -> Record:
    """Read a Lease as the API server gives it."""
    spec = raw.get("spec") or {}
    return Record(
        holder=spec.get("holderIdentity") or "",
        seconds=float(spec.get("leaseDurationSeconds") or 0),
        term=int(spec.get("leaseTransitions") or 0),
        version=raw["metadata"]["resourceVersion"],
        raw=raw,
    )


def taken(raw: Object, *, holder: str, term: int, seconds: float, now: datetime) -> Object:
    """Return a Lease that is taken under a term. `raw`: as it was, or its name alone."""
    spec = {**_spec(raw), "holderIdentity": holder, "leaseTransitions": min(term, LAST_TERM)}
    spec |= {"leaseDurationSeconds": int(seconds), "acquireTime": _micro(now), "renewTime": _micro(now)}
    return {**raw, "spec": spec}


def renewed(raw: Object, *, now: datetime) -> Object:
    """Return a Lease that its holder renews."""
    return {**raw, "spec": {**_spec(raw), "renewTime": _micro(now)}}


def given_up(raw: Object, *, now: datetime) -> Object:
    """Return a Lease that is nobody's any more. Its count stays: the next term is a later one."""
    spec = {name: value for name, value in _spec(raw).items() if name != "holderIdentity"}
    return {**raw, "spec": {**spec, "leaseDurationSeconds": 1, "renewTime": _micro(now)}}


def terms(rollouts: list[Object]) -> int:
    """Return the latest term of which an epoch stands in the status of one of these."""
    found = ((raw.get("status") or {}).get("epoch") for raw in rollouts)
    return max((epochs.term(epoch) for epoch in found if isinstance(epoch, int)), default=0)


def _spec(raw: Object) -> Object:
    return dict(raw.get("spec") or {})


def _micro(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

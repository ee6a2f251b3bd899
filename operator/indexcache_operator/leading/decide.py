"""Decides who leads: what is known of the Lease, by when something was sent or first seen on this process's
own clock. Pure: states and instants in, states and steps out.

No two clocks are compared. A holder counts as silent once its Lease has looked the same for as long as the
Lease itself says; times that stand in it are for people. Who holds it stops acting RENEW_SECONDS after it
*sent* the last renewal that succeeded, and that is earlier than anybody else can have seen it stand still for
LEASE_SECONDS, which began only when that renewal was stored.
"""

from dataclasses import dataclass, replace

from indexcache_operator.leading.record import Record

LEASE_SECONDS = 15.0
"""How long a holder may be silent before somebody else takes the Lease."""
RENEW_SECONDS = 10.0
"""How long a holder acts without a renewal. What it sent last has the rest of LEASE_SECONDS to arrive."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """Says under which term this process leads, and until when if nothing is renewed."""

    term: int
    until: float


@dataclass(frozen=True, kw_only=True)
class View:
    """Holds what one process knows of the Lease."""

    identity: str
    record: Record | None = None
    """As last read or stored; None: there is none, or nothing was read yet."""
    since: float = 0.0
    """When it was first seen as it is."""
    held: Held | None = None
    latest: int = 0
    """The latest term that was ever seen."""


def passed(view: View, now: float) -> View:
    """Let time have passed: who couldn't renew in time leads no longer."""
    return replace(view, held=None) if view.held is not None and now >= view.held.until else view


def read(view: View, record: Record | None, now: float) -> View:
    """Take up the Lease as it was just read. Whoever finds another there, or a later term, has lost it."""
    view = passed(view, now)
    same = record is not None and view.record is not None and record.version == view.record.version
    ours = (
        view.held is not None
        and record is not None
        and (record.holder, record.term) == (view.identity, view.held.term)
    )
    return replace(
        view,
        record=record,
        since=view.since if same else now,
        held=view.held if ours else None,
        latest=max(view.latest, record.term if record else 0),
    )


def may_take(view: View, now: float) -> bool:
    """Return whether the Lease may be taken, by the last reading.

    It may where there is none, where it is nobody's, where it is an earlier life's of this very process, and
    where its holder has been silent for as long as it said it might.
    """
    record = view.record
    if record is None or record.holder in ("", view.identity):
        return True
    return now - view.since >= (record.seconds or LEASE_SECONDS)


def next_term(view: View, known: int = 0) -> int:
    """Return the term of whoever takes the Lease now. `known`: the latest that epochs are of, which counts
    where there is no Lease to tell.
    """
    return max(view.latest, view.record.term if view.record else known) + 1


def stored(view: View, record: Record, sent: float, now: float) -> View:
    """Take up the answer to a write that took or renewed the Lease, which was sent at an instant. One that
    took longer than a lead lasts gives none.
    """
    held = Held(term=record.term, until=sent + RENEW_SECONDS)
    return passed(
        replace(view, record=record, since=now, held=held, latest=max(view.latest, record.term)), now
    )


def gave_up(view: View) -> View:
    """Give the lead up."""
    return replace(view, held=None)

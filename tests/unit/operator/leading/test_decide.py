"""Decisions on who leads: at most one at any instant, whatever clocks, delays and losses there are.

The property runs electors' decisions over one Lease whose API server delays, loses and answers late, each
with a clock of its own that starts anywhere; the only clock that they share is the one by which the test
judges.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexcache_operator.leading import decide, record
from indexcache_operator.leading.decide import LEASE_SECONDS, RENEW_SECONDS, View
from indexcache_operator.objects import Object

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def lease(holder: str, term: int, version: int, seconds: float = LEASE_SECONDS) -> record.Record:
    raw: Object = {"metadata": {"name": "l", "resourceVersion": str(version)}}
    body = record.taken(raw, holder=holder, term=term, seconds=seconds, now=NOW)
    if not holder:
        body = record.given_up(body, now=NOW)
    return record.read(body)


def test_there_is_time_between_the_end_of_a_lead_and_the_next() -> None:
    assert RENEW_SECONDS < LEASE_SECONDS


@pytest.mark.parametrize("found", [None, lease("", 3, 1), lease("a", 3, 1)])
def test_what_is_free_or_was_an_earlier_lifes_is_taken_at_once(found: record.Record | None) -> None:
    view = decide.read(View(identity="a"), found, 50.0)
    assert view.held is None
    assert decide.may_take(view, 50.0)


def test_a_holder_is_silent_once_its_lease_has_stood_still_for_as_long_as_it_says() -> None:
    view = decide.read(View(identity="b"), lease("a", 3, 1, seconds=7.0), 50.0)
    assert not decide.may_take(view, 56.9)
    view = decide.read(view, lease("a", 3, 2, seconds=7.0), 56.9)  # it was renewed
    assert not decide.may_take(view, 63.8)
    view = decide.read(view, lease("a", 3, 2, seconds=7.0), 63.8)
    assert decide.may_take(view, 63.9)


def test_one_that_says_nothing_of_its_time_has_the_usual() -> None:
    view = decide.read(View(identity="b"), replace(lease("a", 3, 1), seconds=0.0), 50.0)
    assert not decide.may_take(view, 50.0 + LEASE_SECONDS - 0.1)
    assert decide.may_take(view, 50.0 + LEASE_SECONDS)


def test_each_taking_begins_a_term() -> None:
    view = decide.read(View(identity="a"), lease("a", 3, 1), 0.0)
    assert decide.next_term(view, known=9) == 4  # the Lease itself tells
    view = decide.read(view, None, 1.0)  # deleted: what was seen of it counts, and what rollouts know
    assert decide.next_term(view) == 4
    assert decide.next_term(view, known=9) == 10
    assert decide.next_term(decide.read(View(identity="a"), None, 1.0)) == 1
    view = decide.stored(view, lease("a", 10, 1), sent=2.0, now=2.0)
    assert decide.next_term(decide.read(view, None, 3.0)) == 11


def test_a_lead_counts_from_when_its_write_was_sent() -> None:
    view = decide.stored(View(identity="a"), lease("a", 1, 1), sent=10.0, now=13.0)
    assert view.held == decide.Held(term=1, until=10.0 + RENEW_SECONDS)
    assert (view.record, view.since) == (lease("a", 1, 1), 13.0)
    late = decide.stored(View(identity="a"), lease("a", 1, 1), sent=10.0, now=10.0 + RENEW_SECONDS)
    assert late.held is None


@pytest.mark.parametrize(
    "found",
    [None, lease("b", 2, 2), lease("", 1, 2), lease("a", 2, 2)],
    ids=["gone", "other", "free", "term"],
)
def test_who_finds_another_there_leads_no_longer(found: record.Record | None) -> None:
    """Also where it is its own name under another term: another process has the same name, then."""
    view = decide.stored(View(identity="a"), lease("a", 1, 1), sent=0.0, now=0.0)
    assert decide.read(view, found, 1.0).held is None


def test_a_renewal_whose_answer_was_lost_prolongs_nothing() -> None:
    view = decide.stored(View(identity="a"), lease("a", 1, 1), sent=0.0, now=0.0)
    view = decide.read(view, lease("a", 1, 2), 5.0)
    assert view.held == decide.Held(term=1, until=RENEW_SECONDS)
    assert decide.passed(view, RENEW_SECONDS).held is None
    assert decide.gave_up(view).held is None


# ------------------------------------------------------------------------------------------------------------


@dataclass
class Store:
    """Holds the Lease as the API server does: written only as it was read."""

    version: int = 0
    lease: Object | None = None

    def write(self, body: Object) -> Object | None:
        """Store it, and return the answer; None where it isn't the one that was read."""
        read = body["metadata"].get("resourceVersion")
        present = self.lease["metadata"]["resourceVersion"] if self.lease else None
        if read != present:
            return None
        self.version += 1
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return self.lease


@dataclass
class Candidate:
    """Decides by its own clock."""

    offset: float
    view: View
    terms: list[int] = field(default_factory=list)

    def step(self, store: Store, now: float, sending: float, answering: float, lost: bool) -> None:
        """Take one step as the elector does. A call is stored `sending` seconds after it was sent, its answer
        comes `answering` seconds later, or never.
        """
        own = now + self.offset
        self.view = decide.passed(self.view, own)
        if self.view.held is None:
            found = record.read(store.lease) if store.lease else None
            self.view = decide.read(self.view, found, own)
            if not decide.may_take(self.view, own):
                return
            raw: Object = found.raw if found else {"metadata": {"name": "l"}}
            term = decide.next_term(self.view)
            body = record.taken(raw, holder=self.view.identity, term=term, seconds=LEASE_SECONDS, now=NOW)
        else:
            assert self.view.record is not None
            body = record.renewed(self.view.record.raw, now=NOW)
        answer = store.write(body)
        if answer is None:
            found = record.read(store.lease) if store.lease else None
            self.view = decide.read(self.view, found, own)
        elif not lost:
            before = own - sending - answering
            self.view = decide.stored(self.view, record.read(answer), sent=before, now=own)
            assert self.view.held is None or self.view.held.term == record.read(answer).term

    def leads(self, now: float) -> bool:
        held = self.view.held
        return held is not None and now + self.offset < held.until


STEPS = st.lists(
    st.tuples(
        st.floats(0.0, 6.0),  # until the next step of anybody
        st.integers(0, 2),  # whose
        st.floats(0.0, 3.0),
        st.floats(0.0, 3.0),
        st.booleans(),
        st.sampled_from(["", "", "", "", "", "deleted"]),
    ),
    max_size=60,
)


@given(STEPS, st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3))
@settings(max_examples=300, deadline=None)
def test_at_no_instant_do_two_lead_and_terms_only_grow(
    steps: list[tuple[float, int, float, float, bool, str]], offsets: list[float]
) -> None:
    """But where somebody deletes the Lease: then two may, for as long as the first doesn't look, and their
    terms tell them apart.
    """
    store, now, deleted = Store(), 0.0, False
    all_ = [Candidate(offset, View(identity=f"operator-{i}")) for i, offset in enumerate(offsets)]
    last = 0
    for wait, whose, sending, answering, lost, fault in steps:
        now += wait + sending + answering
        if fault:
            store.lease, deleted = None, True
        all_[whose].step(store, now, sending, answering, lost)
        leading = [c for c in all_ if c.leads(now)]
        assert deleted or len(leading) <= 1
        if not deleted and store.lease is not None:
            term = record.read(store.lease).term
            assert term >= last
            last = term

"""Mandates: over when their time is, when their term is, and never good again."""

import math

import pytest
from indexcache_operator.mandate import UNBOUND, Lead, NotLeading, alone, clock


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nobody_leads_before_being_told_to() -> None:
    assert Lead().mandate() is None
    assert Lead().term is None


def test_a_mandate_ends_with_its_time_whether_or_not_anybody_says_so() -> None:
    now = Clock()
    lead = Lead(now)
    lead.hold(3, 110.0)
    mandate = lead.mandate()
    assert mandate is not None
    assert (mandate.term, mandate.left()) == (3, 10.0)
    now.now = 109.0
    lead.hold(3, 119.0)  # renewed
    assert mandate.left() == 10.0
    now.now = 118.75
    assert mandate.left() == 0.25
    now.now = 119.0
    assert lead.mandate() is None
    with pytest.raises(NotLeading, match="not renewed in time"):
        mandate.left()


def test_what_was_allowed_in_one_term_is_not_in_the_next_of_the_same_process() -> None:
    now = Clock()
    lead = Lead(now)
    lead.hold(3, 110.0)
    old = lead.mandate()
    assert old is not None
    lead.lose()
    with pytest.raises(NotLeading, match="term 3 is over"):
        old.left()
    lead.hold(5, 110.0)
    with pytest.raises(NotLeading, match="term 3 is over"):
        old.left()
    new = lead.mandate()
    assert new is not None
    assert new.left() == 10.0


def test_whoever_is_alone_leads_for_ever_in_term_0() -> None:
    mandate = alone().mandate()
    assert mandate is not None
    assert (mandate.term, mandate.left()) == (0, math.inf)
    assert (UNBOUND.term, UNBOUND.left()) == (0, math.inf)


def test_the_clock_goes_on() -> None:
    before = clock()
    assert clock() >= before

"""Epochs: the term first, then the count."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexcache_core.contract import Desired, Flags
from indexcache_operator.api import epochs

TERMS = st.integers(1, 2**31 - 1)


@given(TERMS, TERMS, st.integers(0, epochs.EACH_TERM - 1), st.integers(0, epochs.EACH_TERM - 1))
def test_a_later_terms_are_newer_whatever_the_count(one: int, other: int, first: int, second: int) -> None:
    a, b = epochs.first(one) + first, epochs.first(other) + second
    assert (a < b) == ((one, first) < (other, second))
    assert (epochs.term(a), epochs.term(b)) == (one, other)


@given(st.integers(0, epochs.EACH_TERM - 1), TERMS)
def test_those_from_before_there_were_terms_are_older_than_all(old: int, term: int) -> None:
    assert epochs.term(old) == 0
    assert old < epochs.first(term)


@pytest.mark.parametrize("term", [0, 1, 2**31 - 1, 2**33, 2**60])
def test_every_epoch_is_one_of_the_contract_and_survives_json(term: int) -> None:
    epoch = epochs.first(term) + 1
    assert Desired(incarnation="a", epoch=epoch, flags=Flags()).epoch == epoch
    assert int(float(json.dumps(epoch))) == epoch


def test_without_an_election_epochs_are_as_they_were() -> None:
    assert epochs.first(0) == epochs.first(-1) == 0
    assert epochs.term(-5) == 0

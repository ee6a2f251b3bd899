"""Leases as they are read and written."""

from datetime import UTC, datetime

import pytest
from indexcache_operator.api import epochs
from indexcache_operator.leading import record
from indexcache_operator.objects import Object

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
RAW = {
    "metadata": {"name": "l", "uid": "u", "resourceVersion": "7"},
    "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 4, "strategy": "kept"},
}


def test_a_lease_is_read() -> None:
    found = record.read(RAW)
    assert (found.holder, found.seconds, found.term, found.version) == ("a", 15.0, 4, "7")
    assert found.raw is RAW


@pytest.mark.parametrize("spec", [{}, {"spec": {}}, {"spec": None}, {"spec": {"holderIdentity": ""}}])
def test_one_that_says_nothing_is_nobodys(spec: dict[str, object]) -> None:
    found = record.read({"metadata": {"resourceVersion": "1"}, **spec})
    assert (found.holder, found.seconds, found.term) == ("", 0.0, 0)


def test_what_is_written_is_what_was_read_but_for_what_changes() -> None:
    taken = record.taken(RAW, holder="b", term=5, seconds=15.0, now=NOW)
    assert taken["metadata"] == RAW["metadata"]  # its version and its uid, so that it is the very one
    at = "2026-01-02T03:04:05.000678Z"
    expected = {"holderIdentity": "b", "leaseTransitions": 5, "leaseDurationSeconds": 15}
    assert taken["spec"] == {**expected, "acquireTime": at, "renewTime": at, "strategy": "kept"}
    renewed = record.renewed(taken, now=NOW.replace(second=9))
    assert renewed["spec"] == {**taken["spec"], "renewTime": "2026-01-02T03:04:09.000678Z"}
    left = record.given_up({**renewed, "metadata": RAW["metadata"]}, now=NOW)
    assert left["spec"]["renewTime"] == at
    found = record.read(left)
    assert (found.holder, found.seconds, found.term) == ("", 1.0, 5)
    assert "holderIdentity" not in left["spec"]  # the API takes no empty one


def test_a_term_is_no_larger_than_a_lease_can_hold() -> None:
    taken = record.taken(RAW, holder="b", term=2**40, seconds=1.0, now=NOW)
    assert taken["spec"]["leaseTransitions"] == 2**31 - 1


def test_the_latest_term_of_rollouts_is_that_of_their_epochs() -> None:
    statuses: list[Object] = [
        {},
        {"status": {}},
        {"status": {"epoch": 7}},
        {"status": {"epoch": epochs.first(9) + 3}},
    ]
    assert record.terms(statuses) == 9
    assert record.terms([]) == 0
    assert record.terms([{"status": {"epoch": "odd"}}]) == 0

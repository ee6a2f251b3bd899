"""Tests what a scenario counts, from looks in which an engine may be missing."""

from pathlib import Path

import pytest
from indexcache_core.contract import Requests, State
from indexcache_testbed.load.client import Load
from indexcache_testbed.scenario.stage import Stage
from indexcache_testbed.scenario.watch import Answers, Witness


def look(at: float, **counts: int) -> Answers:
    """Return a look at engines by name, each with the requests that it admitted under reuse; `b2` is a second
    life of pod b.
    """
    states = {
        name[0]: State(supported=True, incarnation=name, requests=Requests(admitted_reuse=n))
        for name, n in counts.items()
    }
    return Answers(at, states)


@pytest.mark.parametrize(
    ("looks", "admitted"),
    [
        ([look(1, a=5, b=7), look(2, a=5, b=7), look(3, a=6, b=7)], 1),
        ([look(1, a=5, b=7), look(2, a=6, b=7), look(3, a=6, b=7)], 0),  # before the first look from then on
        ([look(1, a=5, b=52), look(2, a=5), look(3, a=5, b=52)], 0),  # b did not answer at that look
        ([look(1, a=5, b=52), look(2, a=5), look(3, a=5, b=53)], 1),
        ([look(1, a=5, b=52), look(2, a=5, b=52), look(3, a=6)], 1),  # nor at the end
        ([look(1, a=5, b=7), look(2, a=5, b=7), look(3, a=5, b2=3)], 3),
        ([look(1, a=5), look(3, a=9), look(9, a=20)], 0),
        ([], 0),
    ],
)
def test_admissions_are_counted_by_engine(looks: list[Answers], admitted: int) -> None:
    witness = Witness("n", "r", "t", looks=looks)
    assert Stage(witness, Load("", "m"), Path(), print).admitted_between(1.5, 4) == admitted

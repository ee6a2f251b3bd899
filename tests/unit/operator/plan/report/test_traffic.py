"""Tests what the status says of the traffic that was seen."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from indexcache_core.evidence.traffic import Reached
from indexcache_operator.api.status import (
    TrafficStatus,
)
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Seen
from indexcache_operator.plan.report import traffic as shown

from tests.unit.operator.plan.build import (
    KEPT,
    WITH_CANARY,
    at,
    but,
    route,
    situation,
    status,
)


def traffic(
    now: TrafficStatus,
    reached: Reached,
    contradicted: datetime | None = None,
    before: int = 20,
    **changes: Any,
) -> tuple[TrafficStatus, Memory]:
    old = status(traffic=TrafficStatus(desired=before))
    kept = {"route": KEPT, **changes.pop("kept", {})}
    c = situation(
        status=old,
        memory=Memory(key="try", contradicted_at=contradicted),
        seen=Seen(reached=reached, percent=3),
        **{"route": WITH_CANARY, **changes},
    )
    return shown.traffic(but(c, traffic=now, **kept))


WANTED = TrafficStatus(desired=20, previous=5)
VERIFIED = replace(WANTED, observed=20, verified_generation=5)


def test_a_weight_that_the_counters_show_is_verified_for_the_routes_generation() -> None:
    assert traffic(WANTED, Reached.YES)[0] == VERIFIED
    assert traffic(VERIFIED, Reached.YES)[0] == VERIFIED
    newer = route(generation=6)
    assert traffic(VERIFIED, Reached.YES, route=newer)[0].verified_generation == 6
    assert traffic(WANTED, Reached.UNKNOWN)[0] == WANTED


def test_what_was_seen_of_another_weight_says_nothing() -> None:
    assert traffic(WANTED, Reached.YES, before=5)[0] == WANTED
    assert traffic(WANTED, Reached.YES, kept={"route": None})[0] == WANTED
    assert traffic(WANTED, Reached.YES, route=None)[0] == WANTED


AGAINST = replace(WANTED, observed=3, verified_generation=None)


@pytest.mark.parametrize(
    ("now", "contradicted", "written"),
    [
        (WANTED, None, True),
        (VERIFIED, at(-1), True),
        (WANTED, at(-9.9), False),
        (WANTED, at(-10), True),
    ],
)
def test_a_contradiction_is_written_when_it_begins_and_then_every_so_often(
    now: TrafficStatus, contradicted: datetime | None, written: bool
) -> None:
    after, remembered = traffic(now, Reached.NO, contradicted)
    assert after == (AGAINST if written else now)
    assert remembered.contradicted_at == (at(0) if written else contradicted)
    assert traffic(WANTED, Reached.UNKNOWN, at(-99))[0] == WANTED

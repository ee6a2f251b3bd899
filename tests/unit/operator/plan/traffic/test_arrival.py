"""Tests what the engines' counters say of the route's present setting."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from indexcache_core.contract import Requests, State
from indexcache_core.evidence import traffic
from indexcache_core.evidence.traffic import Reached
from indexcache_operator.api.status import Status, TrafficStatus
from indexcache_operator.model import Route
from indexcache_operator.plan.facts.memory import Mark, Memory
from indexcache_operator.plan.facts.situation import Seen
from indexcache_operator.plan.facts.snapshot import Snapshot
from indexcache_operator.plan.traffic import arrival

from tests.unit.operator.plan.build import MOVED, at, case, engine, pod, route, snapshot, status

NOTHING = Memory(key="try")
UNKNOWN = Seen(reached=Reached.UNKNOWN)


def counted(n: int) -> State:
    return engine(requests=Requests(admitted_baseline=n))


def at_look(canary: int, baseline: int, seconds: float = 0.0, **changes: Any) -> Snapshot:
    """Return a look at a canary pod behind its Service alone and a baseline pod, with so many requests."""
    pods = changes.pop("pods", None) or (pod("a", counted(canary), **MOVED), pod("b", counted(baseline)))
    seen = snapshot(*pods, **changes)
    return Snapshot(replace(seen.observation, now=at(seconds)))


def kept(desired: int = 20, previous: int = 0, chosen: tuple[str, ...] = ("a",)) -> Status:
    return status(canary_pods=list(chosen), traffic=TrafficStatus(desired=desired, previous=previous))


def follow(wanted: Status, *looks: Snapshot) -> tuple[Seen, Memory]:
    seen, memory = UNKNOWN, NOTHING
    for each in looks:
        seen, memory = arrival.observe(case(each, wanted, memory))
    return seen, memory


@pytest.mark.parametrize(
    "seen", [None, route(accepted_generation=4), Route(found=False, generation=5, accepted_generation=5)]
)
def test_nothing_is_counted_before_the_route_is_accepted(seen: Route | None) -> None:
    begun = Memory(key="try", mark=Mark(setting="x", since=at(0), admitted={}))
    assert arrival.observe(case(at_look(0, 0, route=seen), kept(), begun)) == (UNKNOWN, NOTHING)


def test_counting_begins_with_the_setting() -> None:
    seen, memory = follow(kept(), at_look(100, 100))
    assert seen == UNKNOWN
    assert memory.mark is not None
    assert (memory.mark.number, memory.mark.since, memory.mark.admitted) == (
        1,
        at(0),
        {("a", "life"): 100, ("b", "life"): 100},
    )


@pytest.mark.parametrize(
    ("wanted", "again"),
    [
        (kept(desired=25), at_look(100, 100)),
        (kept(), at_look(100, 100, route=route(generation=6, accepted_generation=6))),
        (kept(), at_look(100, 100, pods=(pod("a", counted(100), canary_label=True), pod("b", counted(100))))),
        (
            kept(),
            at_look(
                0, 0, pods=(pod("a", counted(100), **MOVED), pod("b", counted(100)), pod("c", counted(1)))
            ),
        ),
        (
            kept(chosen=("a", "c")),
            at_look(0, 0, pods=(pod("a", counted(100), **MOVED), pod("b", counted(100)), pod("c", **MOVED))),
        ),
    ],
)
def test_another_setting_begins_anew(wanted: Status, again: Snapshot) -> None:
    _, memory = arrival.observe(case(at_look(0, 0), kept(), NOTHING))
    seen, after = arrival.observe(case(again, wanted, memory))
    assert seen == UNKNOWN
    assert after.mark is not None
    assert memory.mark is not None
    assert after.mark.setting != memory.mark.setting
    assert after.mark.number == 1


def test_a_weight_is_seen_when_the_canary_gets_its_share() -> None:
    seen, memory = follow(kept(), at_look(100, 100), at_look(120, 180, seconds=7))
    assert seen == Seen(reached=Reached.YES, requests=100, percent=20, counted_for=timedelta(seconds=7))
    assert memory.mark is not None
    assert memory.mark.number == 1


def test_traffic_against_the_weight_begins_the_count_anew() -> None:
    seen, memory = follow(kept(50, 20), at_look(0, 0), at_look(0, 100, seconds=7))
    assert seen == Seen(reached=Reached.NO, requests=100, percent=0, counted_for=timedelta(seconds=7))
    assert memory.mark is not None
    assert (memory.mark.number, memory.mark.since, memory.mark.admitted) == (
        2,
        at(7),
        {("a", "life"): 0, ("b", "life"): 100},
    )
    again = follow(kept(50, 20), at_look(0, 0), at_look(0, 100), at_look(0, 200))[1].mark
    assert again is not None
    assert again.number == 3


def test_few_requests_say_nothing() -> None:
    assert follow(kept(20, 5), at_look(0, 0), at_look(1, 4))[0] == Seen(
        reached=Reached.UNKNOWN, requests=5, percent=20
    )
    assert follow(kept(), at_look(0, 0), at_look(0, 0))[0].percent is None
    assert follow(kept(), at_look(0, 0), at_look(1, 0))[0].percent == 100


def test_the_old_weight_must_be_refuted() -> None:
    assert follow(kept(20, 25), at_look(0, 0), at_look(22, 78))[0].reached is Reached.UNKNOWN
    assert follow(kept(20, 80), at_look(0, 0), at_look(22, 78))[0].reached is Reached.YES


def test_each_count_may_be_wrong_by_less() -> None:
    """So many requests refute the old weight in a first count and not in a second."""
    first = at_look(9, 36)
    assert follow(kept(20, 60), at_look(0, 0), first)[0].reached is Reached.YES
    _, memory = follow(kept(20, 60), at_look(0, 0))
    assert memory.mark is not None
    later = Memory(
        key="try",
        mark=Mark(setting=memory.mark.setting, since=at(0), admitted=memory.mark.admitted, number=40),
    )
    assert arrival.observe(case(first, kept(20, 60), later))[0].reached is Reached.UNKNOWN


def test_a_pod_of_the_canary_that_can_not_be_asked_leaves_the_count_blind() -> None:
    _, memory = follow(kept(chosen=("a", "c")), at_look(0, 0))
    silent = (pod("a", counted(20), **MOVED), pod("b", counted(80)), pod("c", None, ready=False))
    assert (
        arrival.observe(case(at_look(0, 0, pods=silent), kept(chosen=("a", "c")), memory))[0].reached
        is Reached.YES
    )
    wanted = kept()
    _, memory = follow(wanted, at_look(0, 0))
    blind = (pod("a", None, **MOVED), pod("b", counted(80)))
    seen, after = arrival.observe(case(at_look(0, 0, seconds=3, pods=blind), wanted, memory))
    assert seen == Seen(reached=Reached.UNKNOWN, counted_for=timedelta(seconds=3), blind=True)
    assert after == memory
    other = (pod("a", counted(20), **MOVED), pod("b", None))
    assert not arrival.observe(case(at_look(0, 0, pods=other), wanted, memory))[0].blind


def test_where_some_of_the_canary_stand_alone_they_are_counted_for_their_part() -> None:
    """Two pods are behind the canary's Service, one behind the baseline's: half of 40 % is the other's."""
    wanted = kept(40, 0, chosen=("a", "c"))

    def pods(a: int, b: int, c: int) -> tuple[Any, ...]:
        return pod("a", counted(a), **MOVED), pod("b", counted(b)), pod("c", counted(c), canary_label=True)

    seen, _ = follow(wanted, at_look(0, 0, pods=pods(0, 0, 0)), at_look(0, 0, pods=pods(40, 80, 80)))
    assert (seen.reached, seen.percent, seen.requests) == (Reached.YES, 40, 200)


def test_where_all_stand_behind_the_baselines_service_too_their_part_of_it_is_expected() -> None:
    """One of two baseline pods: at 20 % it gets 20 % and half of the rest."""
    wanted = kept(20, 80)

    def pods(a: int, b: int) -> tuple[Any, ...]:
        return pod("a", counted(a), canary_label=True), pod("b", counted(b))

    seen, _ = follow(wanted, at_look(0, 0, pods=pods(0, 0)), at_look(0, 0, pods=pods(240, 160)))
    assert (seen.reached, seen.percent) == (Reached.YES, 20)
    low, _ = follow(wanted, at_look(0, 0, pods=pods(0, 0)), at_look(0, 0, pods=pods(0, 4)))
    assert low.percent == 0


def test_where_nobody_is_behind_the_baselines_service_the_weight_is_the_share() -> None:
    wanted = kept(20)

    def pods(a: int, b: int) -> tuple[Any, ...]:
        return pod("a", counted(a), baseline_label=False), pod("b", counted(b), baseline_label=False)

    seen, _ = follow(wanted, at_look(0, 0, pods=pods(0, 0)), at_look(0, 0, pods=pods(20, 80)))
    assert (seen.reached, seen.percent) == (Reached.YES, 20)


def test_pods_that_all_are_of_the_canary_tell_nothing_of_a_percent() -> None:
    both = (pod("a", counted(0), canary_label=True),)
    seen, _ = follow(
        kept(), at_look(0, 0, pods=both), at_look(0, 0, pods=(pod("a", counted(9), canary_label=True),))
    )
    assert seen.percent is None


def test_zero_is_seen_by_silence_and_after_a_contradiction_by_more_of_it() -> None:
    """At once where no weight was ever given; where some came all the same, after as many as for silence."""
    wanted = kept(0, 0)
    assert follow(wanted, at_look(0, 0), at_look(0, 1))[0].reached is Reached.YES
    against = [at_look(0, 0), at_look(3, 10)]
    assert follow(wanted, *against)[0].reached is Reached.NO
    assert follow(wanted, *against, at_look(3, 20))[0].reached is Reached.UNKNOWN
    assert follow(wanted, *against, at_look(3, 50))[0].reached is Reached.YES


def test_a_weight_taken_back_is_refuted_by_silence() -> None:
    wanted = kept(0, 20)
    assert follow(wanted, at_look(0, 0), at_look(0, 20))[0].reached is Reached.UNKNOWN
    assert follow(wanted, at_look(0, 0), at_look(0, 40))[0].reached is Reached.YES


def expected(
    monkeypatch: pytest.MonkeyPatch, wanted: Status, pods: tuple[Any, ...], number: int = 1
) -> tuple[float, float]:
    """Return the old and the new share that the counters of these pods are judged by."""
    asked: list[tuple[float, float]] = []

    def judge(canary: int, total: int, *, old: float, new: float, delta: float) -> Reached:
        asked.append((old, new))
        return Reached.UNKNOWN

    _, memory = follow(wanted, at_look(0, 0, pods=pods))
    assert memory.mark is not None
    monkeypatch.setattr(traffic, "judge", judge)
    begun = Memory(key="try", mark=Mark(setting=memory.mark.setting, since=at(0), admitted={}, number=number))
    arrival.observe(case(at_look(0, 0, pods=pods), wanted, begun))
    (only,) = asked
    return only


A, B = pod("a", counted(0), **MOVED), pod("b", counted(0))
BEHIND_BOTH = pod("a", counted(0), canary_label=True)


@pytest.mark.parametrize(
    ("wanted", "pods", "old", "new"),
    [
        (kept(20, 100), (A, B), 1.0, 0.2),
        (kept(40, 10, ("a", "c")), (A, B, pod("c", counted(0), canary_label=True)), 0.05, 0.2),
        (kept(20, 100), (BEHIND_BOTH, B), 1.0, 0.6),
        (kept(0, 50), (BEHIND_BOTH, B), 0.75, 0.5),
        (
            kept(20, 0, ("a", "c")),
            (pod("a", counted(0), baseline_label=False), B, pod("c", counted(0), canary_label=True)),
            0.5,
            0.6,
        ),
    ],
)
def test_what_share_is_expected(
    monkeypatch: pytest.MonkeyPatch, wanted: Status, pods: tuple[Any, ...], old: float, new: float
) -> None:
    assert expected(monkeypatch, wanted, pods) == pytest.approx((old, new))


@pytest.mark.parametrize(
    ("pods", "number", "old"), [((A, B), 1, 0.0), ((A, B), 2, 0.25), ((A,), 2, 0.5), ((A, B, B), 3, 1 / 6)]
)
def test_what_must_be_refuted_where_no_weight_was_ever_given(
    monkeypatch: pytest.MonkeyPatch, pods: tuple[Any, ...], number: int, old: float
) -> None:
    assert expected(monkeypatch, kept(0, 0), pods, number) == pytest.approx((old, 0.0))


def test_more_than_all_of_the_traffic_is_all() -> None:
    """One of two pods of the canary stands alone, and gets nearly everything."""
    wanted = kept(40, 0, chosen=("a", "c"))

    def pods(a: int, b: int) -> tuple[Any, ...]:
        return pod("a", counted(a), **MOVED), pod("b", counted(b)), pod("c", counted(0), canary_label=True)

    assert follow(wanted, at_look(0, 0, pods=pods(0, 0)), at_look(0, 0, pods=pods(90, 10)))[0].percent == 100

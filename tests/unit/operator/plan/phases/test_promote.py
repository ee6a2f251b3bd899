"""Promoting and Promoted: reuse everywhere, then the route as it was."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_core.evidence.traffic import Reached
from indexcache_operator.api.status import HistoryEntry, Phase, Status, TrafficStatus
from indexcache_operator.model import EnginePod
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.reach import UNBOUNDED
from indexcache_operator.plan.facts.situation import Seen, Situation
from indexcache_operator.plan.phases import promote
from indexcache_operator.plan.wanted.flags import ON_CANARY_PERMIT, ON_PROMOTED_PERMIT, SHADOW
from indexcache_operator.plan.wanted.targets import Targets

from tests.unit.operator.plan.build import (
    KEPT,
    MOVED,
    ORIGINAL,
    REVISION,
    WITH_CANARY,
    at,
    but,
    engine,
    granted,
    pod,
    situation,
    status,
    told,
)


def promoting(
    *pods: EnginePod, kinds: dict[str, str] | None = None, desired: int = 0, **changes: Any
) -> Situation:
    """Return a promotion in which engines do what they were told: by default, to reuse."""
    wanted = kinds if kinds is not None else dict.fromkeys((p.name for p in pods), ON_CANARY_PERMIT)
    kept = status(
        Phase.PROMOTING,
        canary_pods=("a",),
        route=KEPT,
        traffic=TrafficStatus(desired=desired),
        message="before",
    )
    seen = told(wanted, *pods, status=kept, **changes)
    return situation(*seen.observation.pods, status=seen.observation.status, **changes)


def test_a_promotion_ends_when_all_reuse_and_everything_is_back() -> None:
    c = promoting(pod("a"), pod("b"))
    after = promote.decide(c)
    assert after == replace(
        c.status,
        phase=Phase.PROMOTED,
        phase_started_at=at(0),
        message="Reuse runs on every pod; watched on",
        canary_pods=(),
        route=None,
        history=(
            HistoryEntry(revision=REVISION, pattern="FSFS", outcome="Promoted", reason="Certified", at=at(0)),
        ),
    )


@pytest.mark.parametrize(
    ("c", "words"),
    [
        (promoting(pod("a"), pod("b"), kinds={"a": ON_CANARY_PERMIT, "b": SHADOW}), "1 of 2 engines"),
        (promoting(pod("a"), pod("b", None)), "1 of 2 engines"),
        (promoting(pod("a"), pod("b", engine(Mode.ON)), kinds={"a": ON_CANARY_PERMIT}), "1 of 2 engines"),
        (promoting(pod("a"), route=WITH_CANARY), "Restoring the route"),
        (promoting(pod("a", canary_label=True)), "Restoring the route"),
        (promoting(pod("a", ready=False)), "Restoring the route"),
        (promoting(), "Restoring the route"),
    ],
)
def test_else_it_goes_on_and_says_what_is_missing(c: Situation, words: str) -> None:
    after = promote.decide(c)
    assert (after.phase, after.history) == (Phase.PROMOTING, ())
    assert words in after.message


def test_an_engine_that_was_told_something_else_is_off() -> None:
    c = promoting(pod("a"), pod("b"))
    old = [replace(p, epoch=p.epoch + 1) if p.name == "b" else p for p in c.status.pods]
    assert "1 of 2 engines" in promote.decide(but(c, pods=old)).message


@pytest.mark.parametrize(
    ("pods", "kinds", "desired"),
    [
        (
            [pod("a", **MOVED), pod("b")],
            {"a": ON_CANARY_PERMIT, "b": SHADOW},
            50,
        ),  # not all reuse, the canary serves
        ([pod("a", **MOVED), pod("b")], {"a": ON_CANARY_PERMIT, "b": ON_CANARY_PERMIT}, 0),  # all reuse
        (
            [pod("a"), pod("b", canary_label=True)],
            {"a": ON_CANARY_PERMIT, "b": SHADOW},
            0,
        ),  # nobody serves the canary's weight
        ([pod("a", ready=False, **MOVED), pod("b")], {"a": ON_CANARY_PERMIT, "b": SHADOW}, 0),
    ],
)
def test_the_weight_goes_when_all_reuse_or_the_canary_is_gone(
    pods: list[EnginePod], kinds: dict[str, str], desired: int
) -> None:
    after = promote.decide(promoting(*pods, kinds=kinds, desired=50))
    assert after.traffic == TrafficStatus(desired=desired, previous=0 if desired else 50)
    assert after.phase is Phase.PROMOTING or not desired


def test_a_promotion_that_ends_in_the_look_that_all_reuse_in_leaves_no_weight() -> None:
    after = promote.decide(promoting(pod("a"), pod("b"), desired=50))
    assert (after.phase, after.traffic) == (Phase.PROMOTED, TrafficStatus(desired=0, previous=50))


def test_who_is_promoted_stays_as_it_is() -> None:
    c = situation(pod(), status=status(Phase.PROMOTED))
    assert promote.watch(c) == c.status


def targets(*pods: EnginePod, desired: int, **changes: Any) -> Targets:
    kept: Status = status(
        Phase.PROMOTING, canary_pods=("a",), route=KEPT, traffic=TrafficStatus(desired=desired)
    )
    return promote.promoting_targets(situation(*pods, status=kept, **changes))


def test_while_not_all_reuse_the_canary_stays() -> None:
    assert targets(pod("a", **MOVED), pod("b"), desired=50, route=WITH_CANARY) == Targets(
        kinds={"a": ON_CANARY_PERMIT, "b": ON_CANARY_PERMIT},
        labels={"a": (False, True), "b": (True, False)},
        backends=None,
    )


def test_then_all_return_and_the_route_with_them() -> None:
    seen = Seen(reached=Reached.YES)
    assert targets(pod("a", **MOVED), pod("b"), desired=0, route=WITH_CANARY, seen=seen) == Targets(
        kinds={"a": ON_CANARY_PERMIT, "b": ON_CANARY_PERMIT},
        labels={"a": (False, True), "b": (True, False)},
        backends=ORIGINAL,
    )
    assert targets(pod("a", **MOVED), pod("b"), desired=0, seen=seen).labels == dict.fromkeys(
        "ab", (True, False)
    )


def test_the_route_waits_for_a_ready_pod_behind_the_baselines_service() -> None:
    assert targets(pod("a", **MOVED), pod("b", ready=False), desired=0, route=WITH_CANARY).backends is None


def test_when_promoted_everything_stays_and_new_pods_join() -> None:
    c = situation(
        pod("a"),
        pod("new", None, baseline_label=False),
        pod("out", deleting=True),
        status=status(Phase.PROMOTED),
    )
    assert promote.promoted_targets(c) == Targets(
        kinds={"a": ON_PROMOTED_PERMIT, "new": ON_PROMOTED_PERMIT},
        labels={"a": (True, False), "new": (True, False)},
        backends=None,
    )


def test_while_not_all_reuse_a_pod_that_fell_silent_joins_the_canary() -> None:
    c = promoting(
        pod("a", baseline_label=False), pod("b"), kinds={"a": ON_CANARY_PERMIT, "b": SHADOW}, desired=50
    )
    silent = replace(c, memory=Memory(key="try", drained_pods=frozenset({("a", "life")})))
    assert promote.promoting_targets(silent).labels["a"] == (False, True)
    assert promote.promoting_targets(c).labels["a"] == (False, False)


def test_a_promotion_says_which_engines_can_not_be_told_a_reach() -> None:
    c = promoting(pod("a"), pod("b", engine(contract=1)), kinds={"a": ON_CANARY_PERMIT, "b": SHADOW})
    bounded = but(c, reach=granted(64), canary_pods=())
    assert promote.decide(bounded).message == (
        "Turning reuse on: 0 of 2 engines. The plugin in b can't be told how far reuse may reach; set "
        "spec.engine.runtime to this release's"
    )
    ahead = but(c, reach=granted(64, UNBOUNDED), canary_pods=("b",))
    assert "can't be told" not in promote.decide(ahead).message
    assert "can't be told" not in promote.decide(c).message

"""Tests what is waited for: what the user may still bring, and what comes by itself."""

from datetime import timedelta
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_operator.api.status import Phase
from indexcache_operator.model import EnginePod, Probe, ProbeSet, Route
from indexcache_operator.plan.phases import check

from tests.unit.operator.plan.build import BASELINE, case, engine, pod, situation, snapshot, status, told
from tests.unit.operator.plan.build import route as seen_route
from tests.unit.operator.plan.phases.checking import QUALITY, THREE
from tests.unit.operator.plan.world_parts import spec

PROBED = spec(**QUALITY)
ONE = ProbeSet(probes=(Probe(prompt="x", continuation="y", context_tokens=99),))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spec": PROBED, "probes": None}, "spec.guardrails.quality.probes: not read yet"),
        ({"spec": PROBED, "probes": ProbeSet(problem="gone")}, "spec.guardrails.quality.probes: gone"),
        ({"spec": PROBED, "probes": ProbeSet()}, "spec.guardrails.quality.probes: no probes"),
        ({"spec": PROBED, "probes": ONE}, None),
        ({"route": None}, "spec.traffic.httpRoute: users or its rule generate not found"),
        ({"route": Route(found=False)}, "users or its rule generate not found"),
        ({"route": Route(found=False, problem="no such route")}, "spec.traffic.httpRoute: no such route"),
        ({"route": seen_route({"name": "x"})}, "names no Service chat-baseline"),
        ({"route": seen_route(request_timeout=timedelta(seconds=29.9))}, "ends requests after 29.9 s"),
        ({"route": seen_route(request_timeout=timedelta(seconds=30))}, None),
        ({"route": seen_route(problem="not accepted")}, "spec.traffic.httpRoute: not accepted"),
        (
            {"route": seen_route({**BASELINE, "weight": 999_999}, {"name": "o", "weight": 17})},
            "exceed 1000000",
        ),
        ({"route": None, "spec": spec(traffic={})}, None),
    ],
)
def test_what_the_user_has_to_bring(changes: dict[str, Any], words: str | None) -> None:
    found = check.companions(snapshot(**changes))
    assert len(found) == (1 if words else 0)
    assert all(words in reason for reason in found if words)


def test_probes_and_route_are_both_missed() -> None:
    assert len(check.companions(snapshot(spec=PROBED, route=None))) == 2
    assert len(check.companions(snapshot(spec=spec(traffic={}, **QUALITY), route=None))) == 1


def waiting(*pods: EnginePod, kind: str | None = None, **changes: Any) -> list[str]:
    """Return what three engines are waited for, those that are told nothing being ready."""
    seen = told(
        {p.name: kind for p in pods} if kind else {}, *pods, **{"status": status(Phase.CHECKING), **changes}
    )
    return check.waiting_for(case(seen, seen.observation.status))


@pytest.mark.parametrize(
    ("pods", "changes", "words"),
    [
        (THREE, {}, []),
        (THREE, {"workload_current": False}, ["Deployment isn't as the spec wants it"]),
        (THREE[:2], {}, ["2 of 3 engines ready"]),
        ((*THREE, pod("d", None)), {}, []),
        ((*THREE[:2], pod("c", None)), {}, ["2 of 3 engines ready"]),
        ((*THREE[:2], pod("c", ready=False)), {}, ["2 of 3 engines ready"]),
        ((*THREE, pod("d", current=False)), {}, ["3 of 3 engines ready, 1 of an older template"]),
        ((*THREE[:2], pod("c", None, ready=False, problem="no image")), {}, ["2 of 3", "pod c: no image"]),
        ((*THREE, pod("c2", None, error="timeout")), {}, ["pod c2: control doesn't answer: timeout"]),
        ((*THREE, pod("c2", None, ready=False, error="timeout")), {}, []),
        ((*THREE[:2], pod("c", baseline_label=False)), {}, ["pod c isn't behind chat-baseline yet"]),
        (THREE, {"route": seen_route(accepted_generation=4)}, ["no gateway has accepted"]),
        (THREE, {"route": seen_route(accepted_generation=None)}, ["no gateway has accepted"]),
        (THREE, {"route": seen_route(accepted_generation=6)}, []),
        (THREE, {"route": None}, []),
        (THREE, {"route": Route(found=False, generation=1)}, []),
        (THREE, {"route": seen_route(accepted_generation=None), "spec": spec(traffic={})}, []),
    ],
)
def test_what_comes_by_itself_is_waited_for(
    pods: tuple[EnginePod, ...], changes: dict[str, Any], words: list[str]
) -> None:
    found = waiting(*pods, **changes)
    assert len(found) == len(words)
    assert all(word in reason for word, reason in zip(words, found, strict=True))


def test_a_pod_without_a_state_counts_as_waiting_and_one_of_an_older_template_does_not() -> None:
    """It may be ready and serve all the same: nothing is known of what it does."""
    assert waiting(pod("a"), pod("b"), pod("c", None)) == ["2 of 3 engines ready"]
    assert waiting(pod("a"), pod("b"), pod("c", current=False)) == [
        "2 of 3 engines ready, 1 of an older template"
    ]


def test_engines_must_have_been_told_to_be_at_the_baseline() -> None:
    seen = snapshot(*THREE[:2], pod("c", engine(Mode.ON, epoch=2)), status=status(Phase.CHECKING))
    assert check.waiting_for(case(seen, seen.observation.status)) == [
        "pod c isn't at the baseline yet",
        "pod c wasn't told yet to be at the baseline",
    ]
    shadow = snapshot(*THREE[:2], pod("c", engine(Mode.SHADOW, epoch=2)), status=status(Phase.CHECKING))
    assert check.waiting_for(case(shadow, shadow.observation.status)) == [
        "pod c wasn't told yet to be at the baseline"
    ]


def test_a_rule_that_another_rollout_has_is_refused_by_its_name() -> None:
    held = snapshot(pod(), status=status(Phase.CHECKING), route_holder="first")
    (reason,) = check.companions(held)
    assert "is rollout first's; expected a rule that no other rollout has" in reason


def test_fields_of_a_newer_version_keep_a_try_from_beginning() -> None:
    seen = situation(pod(), status=status(Phase.CHECKING), unknown_fields=("spec.later",))
    assert any("doesn't know spec.later; upgrade it" in reason for reason in check.waiting_for(seen))
    assert check.decide(seen).phase is Phase.CHECKING


def test_what_could_not_be_read_keeps_a_try_from_beginning() -> None:
    seen = situation(pod(), status=status(Phase.CHECKING), unread=("HTTPRoute users: 500",))
    assert "can't be read: HTTPRoute users: 500" in check.waiting_for(seen)
    assert not check.companions(
        snapshot(pod(), status=status(Phase.CHECKING), route=Route(found=True, unread=True))
    )

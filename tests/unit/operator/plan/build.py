"""States to decide on, built from little: each is a healthy rollout's but for what a test says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from indexcache_core.contract import Mode, Series, Site, State, Work
from indexcache_core.evidence.freshness import OWN
from indexcache_core.evidence.verdict import Judgement, Verdict
from indexcache_core.histogram import Histogram, of
from indexcache_operator.api import stored
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import (
    FallbackStatus,
    HoldStatus,
    Phase,
    PodStatus,
    ReachStatus,
    RouteStatus,
    Status,
)
from indexcache_operator.model import EnginePod, Observation, Route
from indexcache_operator.plan.facts import guardrails, measuring, revision
from indexcache_operator.plan.facts.endings import ending
from indexcache_operator.plan.facts.memory import Memory, TestKey
from indexcache_operator.plan.facts.pace import Mark, Pace
from indexcache_operator.plan.facts.reach import UNBOUNDED, Reaches, of_pod
from indexcache_operator.plan.facts.situation import Answer, Evidence, Seen, Situation
from indexcache_operator.plan.facts.snapshot import Snapshot
from indexcache_operator.plan.wanted import flags

from tests.unit.operator.plan.world_parts import BASELINE, FOREIGN, K, spec

__all__ = ["BASELINE", "FOREIGN", "spec"]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REVISION = revision.revision(spec())
MOVED: dict[str, Any] = {"baseline_label": False, "canary_label": True}
"""Of a pod behind the canary's Service alone."""
ORIGINAL: tuple[dict[str, Any], ...] = (FOREIGN, BASELINE)
CANARY = {**BASELINE, "name": "chat-canary"}
SITES = tuple(Site(index=i, layer=i, domain="d", k=K) for i in range(4))
QUALITY = {"quality": {"probes": {"configMap": "p"}}}


def at(seconds: float) -> datetime:
    """Return a time in the status, so many seconds after now."""
    return NOW + timedelta(seconds=seconds)


def engine(mode: Mode = Mode.OFF, **changes: Any) -> State:
    """Return what an engine says of itself, in its first life."""
    return State.model_validate(
        {
            "supported": True,
            "incarnation": "life",
            "mode": mode,
            "sites": SITES,
            "probe_runs": (),
            **changes,
        }
    )


WANTED = frozenset({(3, Work.PREFILL)})
"""Of what certificates are needed: where the users' requests are."""
LEAST, REACHED = 2 * K, 8 * K
"""The reach without a certificate, and the one that holds all of the users' requests."""
IDLE = engine()


def pod(name: str = "a", state: State | None = IDLE, /, **changes: Any) -> EnginePod:
    """Return a ready pod behind the baseline's Service."""
    return EnginePod(
        **{"name": name, "ip": "10.0.0.1", "ready": True, "baseline_label": True, "state": state, **changes}
    )


def route(*backends: dict[str, Any], **changes: Any) -> Route:
    """Return a route that every gateway accepted; by default with the user's own backends."""
    values = {"rule_index": 0, "generation": 5, "resource_version": "77", "accepted_generation": 5, **changes}
    return Route(found=True, backends=backends or ORIGINAL, **values)


WITH_CANARY = route(FOREIGN, BASELINE, CANARY)
KEPT = RouteStatus(name="users", rule="generate", original_backends=ORIGINAL)


def status(phase: Phase = Phase.CANARY, **changes: Any) -> Status:
    """Return the status of a rollout whose revision is the spec's; where pods may be under reuse, without a
    bound on its reach.
    """
    began: dict[str, Any] = {"phase_started_at": at(-10), "revision_started_at": at(-100)}
    if phase in (Phase.CANARY, Phase.PROMOTING, Phase.PROMOTED):
        began["reach"] = granted(UNBOUNDED)
    return stored.read({"phase": phase, "revision": REVISION, **began, **changes})


def granted(tokens: int, canary: int | None = None, **changes: Any) -> ReachStatus:
    """Return the reach of all pods, and of the canary's."""
    return ReachStatus(tokens=tokens, canary_tokens=tokens if canary is None else canary, **changes)


def intent(
    cause: str = "Killed", message: str = "by hand", since: float = -4, of_revision: str = REVISION
) -> FallbackStatus:
    """Return the intent to fall back."""
    return FallbackStatus(
        cause=cause,
        message=message,
        since=at(since),
        revision=of_revision,
        origin=ending(cause).origin,
    )


def hold(cause: str = "TooLittleTraffic", **changes: Any) -> HoldStatus:
    """Return how a try is held that was held once, a second ago, for five minutes."""
    values = {"since": at(-1), "not_before": at(299), "message": "too few", "generation": 3, **changes}
    return HoldStatus(cause=cause, origin=ending(cause).origin, **values)


def pace(requests: int, *, minutes: float = 10, observations: float = 0.0, place: str = "") -> Pace:
    """Return the pace of a phase in which so many requests came, and observations of recall at bucket 3."""
    name = "recall/None/3/prefill"
    begun = Mark(at=at(-60 * minutes), observations={name: 0.0})
    now = Mark(at=NOW, requests=requests, observations={name: observations})
    return Pace(place=place, admitted={}, now=now, marks=(begun,))


def observation(*pods: EnginePod, **changes: Any) -> Observation:
    """Return what was seen of a rollout."""
    values: dict[str, Any] = {
        "now": NOW,
        "uptime": 5000.0,
        "name": "chat",
        "namespace": "ns",
        "uid": "uid",
        "generation": 3,
        "annotations": {},
        "deleting": False,
        "spec": spec(),
        "status": status(),
        "workload_current": True,
        "route": route(),
    }
    return Observation(pods=pods, **{**values, **changes})


def snapshot(*pods: EnginePod, **changes: Any) -> Snapshot:
    """Return one look at a rollout."""
    return Snapshot(observation(*pods, **changes))


def case(seen: Snapshot, kept: Status | None = None, memory: Memory | None = None) -> Situation:
    """Return what a decision rests on: a look, by default its own status, and a memory."""
    return Situation(
        snapshot=seen, status=kept or seen.observation.status, memory=memory or Memory(key="try")
    )


def situation(
    *pods: EnginePod,
    memory: Memory | None = None,
    evidence: Evidence | None = None,
    seen: Seen | None = None,
    **changes: Any,
) -> Situation:
    """Return what a decision rests on, from pods and what differs of the observation."""
    made = case(snapshot(*pods, **changes), memory=memory)
    return replace(made, evidence=evidence or Evidence(), seen=seen or Seen())


def but(c: Situation, **changes: Any) -> Situation:
    """Return the same situation with another status."""
    return replace(c, status=replace(c.status, **changes))


def told(kinds: dict[str, str], *pods: EnginePod, **changes: Any) -> Snapshot:
    """Return a look at engines that do what the status wants of them: flags of these kinds, else off."""
    before = observation(*pods, **changes)
    after = flags.assign(case(Snapshot(before), before.status), kinds)
    kept = {p.name: p for p in after.pods}
    obeying = tuple(
        replace(p, state=p.state and obey(Snapshot(before), after, kept[p.name], p.state)) for p in pods
    )
    return snapshot(*obeying, **{**changes, "status": after})


def measured(seen: Snapshot, observations: int = OWN) -> Snapshot:
    """Return the same look, in which each engine under reuse has so many observations of its own in this
    step.
    """
    kept = measuring.note(seen, seen.observation.status)
    value = Series(site=None, context=3, work=Work.PREFILL, mode=Mode.ON, recall=of([0.9] * observations))
    pods = tuple(
        replace(p, state=p.state.model_copy(update={"observed": (value,)}))
        if p.state is not None and p.state.mode is Mode.ON and observations
        else p
        for p in seen.observation.pods
    )
    return Snapshot(replace(seen.observation, pods=pods, status=kept))


def obey(seen: Snapshot, wanted: Status, kept: PodStatus, state: State) -> State:
    """Return an engine that accepted what the status wants of it."""
    content = flags.content(case(seen, wanted), flags.kind_of(kept), of_pod(wanted, kept.name))
    return state.model_copy(
        update={
            "epoch": kept.epoch,
            "mode": Mode(content.flags.mode),
            "desired": content.flags,
            "identity": content.identity,
            "thresholds": content.thresholds,
            "permit_remaining_seconds": content.permit_seconds,
        }
    )


def judgement(verdict: Verdict, histogram: Histogram | None = None, log_e: float = 0.0) -> Judgement:
    """Return what is said of one test with the threshold 0.5."""
    values = histogram if histogram is not None else of([0.9] * 200)
    return Judgement(verdict=verdict, histogram=values, threshold=0.5, log_e=log_e, beta=0.05)


def answer(
    name: str,
    verdict: Verdict,
    judgements: dict[TestKey, Judgement] | None = None,
    of_spec: Spec | None = None,
) -> Answer:
    """Return what one guardrail of a spec says."""
    row = next(g for g in guardrails.guardrails(of_spec or spec()) if g.name == name)
    return Answer(guardrail=row, verdict=verdict, judgements=judgements or {})


def evidence(verdict: Verdict = Verdict.CERTIFIED) -> Evidence:
    """Return all that the spec's one guardrail says."""
    found = answer("recall", verdict, {TestKey("recall", None, 3, Work.PREFILL): judgement(verdict)})
    tokens = REACHED if verdict is Verdict.CERTIFIED else LEAST
    return Evidence(answers=(found,), wanted=WANTED, reaches=reaches(tokens, tokens))


def reaches(shadow: int, reuse: int, **changes: Any) -> Reaches:
    """Return how far certificates reach, where all work is of one bucket."""
    work = tuple(float(bucket == 3) for bucket in range(9))
    return Reaches(**{"shadow": shadow, "reuse": reuse, "work": work, "k": K, "min_share": 0.9, **changes})

"""Pending, Checking, Failed: is what the spec asks for possible, and is everything there?

Reasons are looked for anew in each look, so Failed ends by itself when the last one is gone. Nothing is
deployed for a spec that can't work whatever the cluster does; what the user may still be about to apply
(route, probes) is waited for before it counts as missing.
"""

from dataclasses import replace
from datetime import timedelta

from indexcache_core import compat, pattern
from indexcache_core.contract import Mode, State

from indexcache_operator.api import times
from indexcache_operator.api.status import Origin, Phase, Status, WaitStatus
from indexcache_operator.model import Route
from indexcache_operator.plan.facts import checkpoint, revision, weights
from indexcache_operator.plan.facts.guardrails import guarded
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import Snapshot
from indexcache_operator.plan.phases.entering import MEASURING, enter
from indexcache_operator.plan.wanted import flags
from indexcache_operator.plan.wanted.targets import Targets

WAIT_FOR_COMPANIONS = timedelta(seconds=10)
"""In which a route or probes may yet appear."""
UNGUARDED = (
    "spec.guardrails: none acts on what engines measure, expected a threshold in overlap.min, recall.min or "
    "recall.perIndexerMin, without observeOnly; set one, or unguarded: true to expose users without evidence"
)
SHORTEST_TIMEOUT = timedelta(seconds=30)
"""That a route must give a request: a prefill of 200K tokens takes 21 on one H200."""


def adopt(situation: Situation) -> Status:
    """Return the status with the spec's revision as the one that is tried, from the baseline and from no
    evidence.
    """
    snapshot, status = situation.snapshot, situation.status
    name = snapshot.wanted_revision
    annotations = snapshot.observation.annotations
    rejected = (
        r
        for r in status.rejected
        if r.revision != name or not revision.retry_allowed(annotations, name, r.retried)
    )
    return replace(
        enter(situation, Phase.CHECKING, "Checking the spec, the engines and the route"),
        revision=name,
        revision_started_at=snapshot.now,
        checkpoint="",
        rejected=tuple(rejected),
        fallback=None,
        hold=None,
        quality=None,
        evidence=(),
        step=None,
        canary_pods=(),
        reach=None,
        paused_at=None,
    )


def decide(situation: Situation) -> Status:
    """Lead from Pending, Checking or Failed to Checking, Failed or Shadowing."""
    snapshot, status = situation.snapshot, situation.status
    if snapshot.observation.spec is None:
        return _failed(situation, [f"spec: {snapshot.observation.spec_problem or 'not readable'}"])
    if status.revision != snapshot.wanted_revision or status.phase is Phase.PENDING:
        return decide(replace(situation, status=adopt(situation)))
    rejected = revision.rejection(status, status.revision)
    annotations = snapshot.observation.annotations
    stopped = revision.killed(annotations, status.revision)
    asked = rejected is not None and revision.retry_allowed(annotations, rejected.revision, rejected.retried)
    if asked and not stopped:
        return adopt(situation)
    waited = status.phase is Phase.FAILED or snapshot.since(status.phase_started_at) >= WAIT_FOR_COMPANIONS
    reasons = impossible(situation)
    missing = companions(snapshot)
    if reasons or (missing and waited):
        return _failed(situation, reasons or missing)
    if status.phase is Phase.FAILED:
        return adopt(situation)
    waiting = missing or waiting_for(situation)
    if waiting:
        return _waiting(situation, waiting, by_user=bool(missing or snapshot.paused))
    return enter(situation, Phase.SHADOWING, MEASURING)


def _waiting(situation: Situation, reasons: list[str], *, by_user: bool) -> Status:
    message = "; ".join(reasons)
    wait = WaitStatus(
        origin=Origin.USER if by_user else Origin.PLATFORM,
        reason="CompanionsMissing" if by_user else "EnginesNotReady",
        message=message,
        way_out="bring what is missing"
        if by_user
        else "kubectl describe pod says what keeps it from serving",
    )
    return replace(situation.status, message=f"Waiting: {message}", waiting=wait)


def _failed(situation: Situation, reasons: list[str]) -> Status:
    status, message = situation.status, "; ".join(reasons)
    if status.phase is not Phase.FAILED:
        status = enter(situation, Phase.FAILED, message)
    rejected = revision.rejection(status, status.revision) is not None
    wait = WaitStatus(
        origin=Origin.PATTERN if rejected else Origin.USER,
        reason="Rejected" if rejected else "NotPossible",
        message=message,
        way_out="do what the message says: it goes on by itself then",
    )
    return replace(status, message=message, waiting=wait)


def impossible(situation: Situation) -> list[str]:
    """Return the reasons that nothing but a change of the spec or of an annotation takes away."""
    snapshot, status = situation.snapshot, situation.status
    spec = snapshot.spec
    rejected = revision.rejection(status, status.revision)
    if rejected is not None:
        again = revision.next_retry(rejected.retried, status.revision)
        return [
            f"revision {status.revision} was rejected at {times.stamp(rejected.at)} ({rejected.reason}); "
            f'change spec.engine or spec.indexCache, or annotate {revision.RETRY}: "{again}" to try it again'
        ]
    if revision.killed(snapshot.observation.annotations, status.revision):
        return [f"annotation {revision.KILL} stops revision {status.revision}; remove it to try this one"]
    given = (("command", spec.engine.command), ("args", spec.engine.args))
    reasons = [
        f"spec.engine.{field}: {reason}" for field, args in given for reason in compat.argument_reasons(args)
    ]
    if snapshot.routed and spec.engine.replicas < 2:
        reasons.append(
            "spec.engine.replicas: 1, expected at least 2 with spec.traffic.httpRoute: one pod stays at the "
            "baseline while one is exposed"
        )
    if snapshot.observation.model_config is not None:
        reasons += compat.model_reasons(snapshot.observation.model_config)
        sites = compat.indexers(snapshot.observation.model_config)
        if sites is not None and not reasons:
            reasons += _misfits(snapshot, [""] * sites)
    for pod in snapshot.pods:
        if pod.state is not None and pod.current:
            reasons += _of_engine(snapshot, pod.name, pod.state)
    if not guarded(spec) and not spec.guardrails.unguarded:
        reasons.append(UNGUARDED)
    return list(dict.fromkeys(reasons)) + _short_probes(snapshot)


def _of_engine(snapshot: Snapshot, name: str, state: State) -> list[str]:
    """Return the reasons of one pod's engine."""
    if not state.supported:
        return [f"spec.engine: pod {name}: {reason}" for reason in state.reasons or ("not supported",)]
    reasons = _misfits(snapshot, [site.domain for site in state.sites]) if state.sites else []
    wanted = snapshot.spec.index_cache.indexer
    if wanted not in state.indexers:
        reasons.append(
            f"spec.indexCache.indexer: {wanted}; the engine of pod {name} has {', '.join(state.indexers)}; "
            "Fast needs an H100 or H200, 32 or 64 heads an indexer and this release's plugin"
        )
    return reasons


def _misfits(snapshot: Snapshot, domains: list[str]) -> list[str]:
    cache = snapshot.spec.index_cache
    return [
        f"spec.indexCache.{reason}" for reason in pattern.misfits(cache.pattern, cache.protected, domains)
    ]


def _short_probes(snapshot: Snapshot) -> list[str]:
    k = snapshot.k
    short = (
        [p.context_tokens for p in snapshot.observation.probes.probes if p.context_tokens <= k]
        if snapshot.observation.probes and k
        else []
    )
    if not short:
        return []
    return [
        f"spec.guardrails.quality.probes: {len(short)} probes of {min(short)} to {max(short)} tokens; with "
        f"no more than k = {k} tokens every pattern answers alike, use contexts as long as the traffic's"
    ]


def companions(snapshot: Snapshot) -> list[str]:
    """Return what the user has to bring beside the rollout, and hasn't."""
    return [*_missing_probes(snapshot), *_missing_route(snapshot)]


def _missing_probes(snapshot: Snapshot) -> list[str]:
    if snapshot.spec.guardrails.quality is None:
        return []
    found = snapshot.observation.probes
    problem = "not read yet" if found is None else found.problem
    if not problem and (found is None or found.probes):
        return []
    return [
        f"spec.guardrails.quality.probes: {problem or 'no probes'}; expected key probes.jsonl with at least "
        "one probe"
    ]


def _missing_route(snapshot: Snapshot) -> list[str]:
    where, route, holder = (
        snapshot.spec.traffic.http_route,
        snapshot.observation.route,
        snapshot.observation.route_holder,
    )
    if where is None:
        return []
    field, rule = "spec.traffic.httpRoute", f"rule {where.rule} of {where.name}"
    reasons = []
    if holder is not None:
        expected = "expected a rule that no other rollout has; name another, or delete that rollout"
        reasons.append(f"{field}: {rule} is rollout {holder}'s; {expected}")
    if route is None or not route.found:
        said = (
            route.problem
            if route is not None and route.problem
            else f"{where.name} or its rule {where.rule} not found"
        )
        reasons.append(f"{field}: {said}")
    elif not route.unread and (unfit := _unfit(snapshot, route, rule)):
        reasons.append(f"{field}: {unfit}")
    return reasons


def _unfit(snapshot: Snapshot, route: Route, rule: str) -> str | None:
    """Return why a rule that was found can't carry a canary; None if it can."""
    namespace, percents = (
        snapshot.observation.namespace,
        [step.weight for step in snapshot.spec.strategy.steps],
    )
    if not weights.names(route.backends, snapshot.baseline_service, namespace):
        return (
            f"{rule} names no Service {snapshot.baseline_service} of namespace {namespace}; make it its "
            "backend"
        )
    if route.request_timeout is not None and route.request_timeout < SHORTEST_TIMEOUT:
        found, least = route.request_timeout.total_seconds(), SHORTEST_TIMEOUT.total_seconds()
        return (
            f"{rule} ends requests after {found:g} s, by its timeouts or its gateway's default; give it "
            f"timeouts.request of at least {least:g} s, as a long prefill takes long"
        )
    if route.problem:
        return route.problem
    if weights.too_heavy(
        route.backends, snapshot.baseline_service, snapshot.canary_service, percents, namespace
    ):
        return f"weights of {rule} times 100 exceed {weights.MAX_WEIGHT}; use smaller ones"
    return None


def waiting_for(situation: Situation) -> list[str]:
    """Return what comes by itself, or is a matter of the cluster."""
    snapshot = situation.snapshot
    spec, out = snapshot.spec, _hindrances(snapshot)
    if not snapshot.observation.workload_current:
        out.append("the engines' Deployment isn't as the spec wants it yet")
    current = [p for p in snapshot.pods if p.current]
    old = [p for p in snapshot.pods if not p.current]
    ready = [p for p in current if p.ready and p.state is not None]
    if len(ready) < spec.engine.replicas or old:
        out.append(
            f"{len(ready)} of {spec.engine.replicas} engines ready"
            + (f", {len(old)} of an older template" if old else "")
        )
    out += [f"pod {p.name}: {p.problem}" for p in current if p.problem]
    out += [
        f"pod {p.name}: control doesn't answer: {p.error}"
        for p in current
        if p.ready and p.state is None and p.error
    ]
    out += [
        f"pod {p.name} isn't at the baseline yet"
        for p in current
        if p.state is not None and p.state.mode is Mode.ON
    ]
    out += [
        f"pod {p.name} isn't behind {snapshot.baseline_service} yet" for p in ready if not p.baseline_label
    ]
    out += [
        f"pod {p.name} wasn't told yet to be at the baseline"
        for p in ready
        if not flags.settled(situation, p)
    ]
    if snapshot.routed and snapshot.observation.route is not None and snapshot.observation.route.found:
        accepted = snapshot.observation.route.accepted_generation
        if accepted is None or accepted < snapshot.observation.route.generation:
            out.append("no gateway has accepted the route's present generation")
    return out


def _hindrances(snapshot: Snapshot) -> list[str]:
    """Return what keeps any try from beginning, whatever the engines do."""
    unknown = snapshot.paused if snapshot.observation.unknown_fields else None
    unread = [f"can't be read: {what}" for what in snapshot.observation.unread]
    return [*filter(None, (unknown, checkpoint.differing(snapshot))), *unread]


def targets(situation: Situation) -> Targets:
    """Want all pods at the baseline."""
    return Targets(kinds={}, labels={p.name: (True, False) for p in situation.snapshot.pods})

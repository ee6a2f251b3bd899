"""Pending, Checking, Failed: is what the spec asks for possible, and is everything there?

Reasons are looked for anew in each look, so Failed ends by itself when the last one is gone. Nothing is deployed for a spec that can't work
whatever the cluster does; what the user may still be about to apply (route, probes) is waited for before it counts as missing.
"""

from dataclasses import replace
from datetime import timedelta

from indexcache_core import compat, pattern
from indexcache_core.contract import Mode

from indexcache_operator.api import times
from indexcache_operator.api.status import Phase, Status
from indexcache_operator.plan import flags, revision, route_math
from indexcache_operator.plan.entering import enter
from indexcache_operator.plan.exposure import Targets
from indexcache_operator.plan.look import Look
from indexcache_operator.plan.quality_view import site_k
from indexcache_operator.plan.situation import Situation

WAIT_FOR_COMPANIONS = timedelta(seconds=10)
"""In which a route or probes may yet appear."""
SHORTEST_TIMEOUT = timedelta(seconds=30)
"""That a route must give a request: a prefill of 200K tokens takes 21 on one H200."""


def adopt(situation: Situation) -> Status:
    """Return the status with the spec's revision as the one that is tried, from the baseline and from no evidence."""
    look, status = situation.look, situation.status
    name = look.wanted_revision
    annotations = look.o.annotations
    rejected = (r for r in status.rejected if r.revision != name or not revision.retry_allowed(annotations, r))
    return replace(
        enter(situation, Phase.CHECKING, "Checking the spec, the engines and the route"),
        revision=name,
        revision_started_at=look.now,
        rejected=tuple(rejected),
        fallback=None,
        quality=None,
        evidence=(),
        step=None,
        canary_pods=(),
        paused_at=None,
    )


def decide(situation: Situation) -> Status:
    """Lead from Pending, Checking or Failed to Checking, Failed or Shadowing."""
    look, status = situation.look, situation.status
    if look.o.spec is None:
        return _failed(situation, [f"spec: {look.o.spec_problem or 'not readable'}"])
    if status.revision != look.wanted_revision or status.phase is Phase.PENDING:
        return decide(replace(situation, status=adopt(situation)))
    rejected = revision.rejection(status, status.revision)
    if rejected is not None and revision.retry_allowed(look.o.annotations, rejected):
        return adopt(situation)
    waited = status.phase is Phase.FAILED or look.since(status.phase_started_at) >= WAIT_FOR_COMPANIONS
    reasons = impossible(situation)
    missing = companions(look)
    if reasons or (missing and waited):
        return _failed(situation, reasons or missing)
    if status.phase is Phase.FAILED:
        return adopt(situation)
    waiting = missing or waiting_for(situation)
    if waiting:
        return replace(status, message="Waiting: " + "; ".join(waiting))
    return enter(situation, Phase.SHADOWING, "Measuring on live traffic that is served all Full; nobody is exposed")


def _failed(situation: Situation, reasons: list[str]) -> Status:
    status, message = situation.status, "; ".join(reasons)
    if status.phase is Phase.FAILED:
        return replace(status, message=message)
    return enter(situation, Phase.FAILED, message)


def impossible(situation: Situation) -> list[str]:
    """Return the reasons that nothing but a change of the spec or of an annotation takes away."""
    look, status = situation.look, situation.status
    spec = look.spec
    rejected = revision.rejection(status, status.revision)
    if rejected is not None:
        again = revision.next_retry(rejected, status.revision)
        return [
            f"revision {status.revision} was rejected at {times.stamp(rejected.at)} ({rejected.reason}); "
            f'change spec.engine or spec.indexCache, or annotate {revision.RETRY}: "{again}" to try it again'
        ]
    if revision.killed(look.o.annotations, status.revision):
        return [f"annotation {revision.KILL} stops revision {status.revision}; remove it to try this one"]
    given = (("command", spec.engine.command), ("args", spec.engine.args))
    reasons = [f"spec.engine.{field}: {reason}" for field, args in given for reason in compat.argument_reasons(args)]
    if look.routed and spec.engine.replicas < 2:
        reasons.append(
            "spec.engine.replicas: 1, expected at least 2 with spec.traffic.httpRoute: one pod stays at the baseline while one is exposed"
        )
    if look.o.model_config is not None:
        reasons += compat.model_reasons(look.o.model_config)
        sites = compat.indexers(look.o.model_config)
        if sites is not None and not reasons:
            reasons += _misfits(look, [""] * sites)
    for pod in look.pods:
        if pod.state is None or not pod.current:
            continue
        if not pod.state.supported:
            reasons += [f"spec.engine: pod {pod.name}: {reason}" for reason in pod.state.reasons or ("not supported",)]
        elif pod.state.sites:
            reasons += _misfits(look, [site.domain for site in pod.state.sites])
    return list(dict.fromkeys(reasons)) + _short_probes(look)


def _misfits(look: Look, domains: list[str]) -> list[str]:
    cache = look.spec.index_cache
    return [f"spec.indexCache.{reason}" for reason in pattern.misfits(cache.pattern, cache.protected, domains)]


def _short_probes(look: Look) -> list[str]:
    k = site_k(look)
    short = [p.context_tokens for p in look.o.probes.probes if p.context_tokens <= k] if look.o.probes and k else []
    if not short:
        return []
    return [
        f"spec.guardrails.quality.probes: {len(short)} probes of {min(short)} to {max(short)} tokens; with no more than k = {k} tokens "
        "every pattern answers alike, use contexts as long as the traffic's"
    ]


def companions(look: Look) -> list[str]:
    """Return what the user has to bring beside the rollout, and hasn't."""
    spec, reasons = look.spec, []
    if spec.guardrails.quality is not None:
        problem = "not read yet" if look.o.probes is None else look.o.probes.problem
        if problem or (look.o.probes and not look.o.probes.probes):
            reasons.append(f"spec.guardrails.quality.probes: {problem or 'no probes'}; expected key probes.jsonl with at least one probe")
    where, route = spec.traffic.http_route, look.o.route
    if where is None:
        return reasons
    if route is None or not route.found:
        reasons.append(
            f"spec.traffic.httpRoute: {route.problem if route and route.problem else f'{where.name} or its rule {where.rule} not found'}"
        )
    elif not route_math.names(route.backends, look.baseline_service, look.o.namespace):
        reasons.append(
            f"spec.traffic.httpRoute: rule {where.rule} of {where.name} names no Service {look.baseline_service} of namespace "
            f"{look.o.namespace}; make it its backend"
        )
    elif route.request_timeout is not None and route.request_timeout < SHORTEST_TIMEOUT:
        found, least = route.request_timeout.total_seconds(), SHORTEST_TIMEOUT.total_seconds()
        reasons.append(
            f"spec.traffic.httpRoute: rule {where.rule} of {where.name} ends requests after {found:g} s, by its "
            f"timeouts or its gateway's default; give it timeouts.request of at least {least:g} s, as a long prefill takes long"
        )
    elif route.problem:
        reasons.append(f"spec.traffic.httpRoute: {route.problem}")
    elif route_math.too_heavy(
        route.backends, look.baseline_service, look.canary_service, [step.weight for step in spec.strategy.steps], look.o.namespace
    ):
        reasons.append(f"spec.traffic.httpRoute: weights of rule {where.rule} times 100 exceed {route_math.MAX_WEIGHT}; use smaller ones")
    return reasons


def waiting_for(situation: Situation) -> list[str]:
    """Return what comes by itself, or is a matter of the cluster."""
    look = situation.look
    spec, out = look.spec, []
    if not look.o.workload_current:
        out.append("the engines' Deployment isn't as the spec wants it yet")
    current = [p for p in look.pods if p.current]
    old = [p for p in look.pods if not p.current]
    ready = [p for p in current if p.ready and p.state is not None]
    if len(ready) < spec.engine.replicas or old:
        out.append(f"{len(ready)} of {spec.engine.replicas} engines ready" + (f", {len(old)} of an older template" if old else ""))
    out += [f"pod {p.name}: {p.problem}" for p in current if p.problem]
    out += [f"pod {p.name}: control doesn't answer: {p.error}" for p in current if p.ready and p.state is None and p.error]
    out += [f"pod {p.name} isn't at the baseline yet" for p in current if p.state is not None and p.state.mode is Mode.ON]
    out += [f"pod {p.name} isn't behind {look.baseline_service} yet" for p in ready if not p.baseline_label]
    out += [f"pod {p.name} wasn't told yet to be at the baseline" for p in ready if not flags.settled(situation, p)]
    if look.routed and look.o.route is not None and look.o.route.found:
        accepted = look.o.route.accepted_generation
        if accepted is None or accepted < look.o.route.generation:
            out.append("no gateway has accepted the route's present generation")
    return out


def targets(situation: Situation) -> Targets:
    """Want all pods at the baseline."""
    return Targets(kinds={}, labels={p.name: (True, False) for p in situation.look.pods})

"""From one look to a plan: evidence, then the phase, then what is wanted of pods and route, then the actions that are missing.

Pure, and a function of the present only: whatever was done or not done before a crash shows in the observation, so each look asks again for
all that isn't as it should be. Order of actions: kills, which wait for nothing; the status, if what follows relies on it; labels, route,
flags.
"""

from dataclasses import replace

from indexcache_operator.api.status import Phase, PodStatus, Status
from indexcache_operator.model import Action, EnsureWorkload, Event, Observation, PersistStatus, Plan
from indexcache_operator.plan import (
    conditions,
    contexts,
    deletion,
    evidence_view,
    exposure,
    fallback,
    flags,
    probes,
    report,
    silence,
    traffic_view,
    triggers,
)
from indexcache_operator.plan.context import Context
from indexcache_operator.plan.evidence_view import Evidence
from indexcache_operator.plan.exposure import Targets
from indexcache_operator.plan.look import Look, pod_status
from indexcache_operator.plan.memory import Memory
from indexcache_operator.plan.transitions import TABLE

WITHOUT_WORKLOAD = frozenset({Phase.PENDING, Phase.FAILED, Phase.FALLING_BACK})


def plan(observation: Observation, memory: Memory | None = None) -> Plan[Memory]:
    """What follows from an observation. `memory` is the last plan's, or None after a start."""
    look = Look(observation)
    before = observation.status
    status = _pause(look, triggers.stale(before))
    row = TABLE[status.phase]
    remembered = evidence_view.begin(look, memory)
    evidence = Evidence()
    measured = row.measures and observation.spec is not None and look.wanted_revision == status.revision
    if measured:
        remembered = contexts.observe(look, evidence_view.observe(look, remembered))
        evidence = evidence_view.judge(look, remembered)
    remembered = exposure.hear(look, status, silence.observe(look, status, _count(look, status, remembered)))
    seen, remembered = traffic_view.observe(look, status, remembered)
    c = Context(look, status, remembered, evidence, seen)
    ended = triggers.apply(c)
    c = replace(c, status=ended if ended is not None else row.decide(c))
    # What the new phase decides at once needs no look of its own: a fallback says from the beginning what it waits for.
    targets = TABLE[c.status.phase].targets(c)
    kinds = _kinds(look, c.status, targets)
    status = flags.assign(look, c.status, kinds)
    c = replace(c, status=replace(status, pods=_told(look, status), observed_generation=observation.generation))
    traffic, remembered = report.traffic(c)
    c = replace(c, status=replace(c.status, traffic=traffic), memory=remembered)
    published, remembered = report.publish(c, before, measured)
    c = replace(c, status=published, memory=remembered)
    c = replace(c, status=replace(c.status, conditions=conditions.conditions(c)))
    return _assemble(c, before, targets, kinds)


def _assemble(c: Context, before: Status, targets: Targets, kinds: dict[str, str]) -> Plan[Memory]:
    look, status = c.look, c.status
    actions: list[Action] = list(fallback.kills(look, status, kinds))
    if _relied_on(status) != _relied_on(before):
        actions.append(PersistStatus())
    if not look.o.deleting and not look.o.workload_current and status.phase not in WITHOUT_WORKLOAD and look.o.spec is not None:
        actions.append(EnsureWorkload())
    actions += exposure.label_actions(look, targets)
    actions += exposure.route_actions(look, status, targets)
    actions += flags.puts(look, status)
    asked = probes.choose(c)
    memory = c.memory
    if asked is not None:
        actions.append(asked)
        memory = probes.asked(memory, look.now)
    actions += _events(before, status)
    if look.o.deleting:
        actions += deletion.actions(c)
    return Plan(status=status, actions=tuple(actions), next_look=TABLE[status.phase].look_again, memory=memory)


def _kinds(look: Look, status: Status, targets: Targets) -> dict[str, str]:
    """Wanted flags of all pods. One on its way out keeps what it has, unless all go back."""
    if not targets.kinds:
        return {}
    leaving = {p.name: flags.kind_of(pod_status(status, p.name)) for p in look.o.pods if p.deleting}
    return {**leaving, **targets.kinds}


def _told(look: Look, status: Status) -> tuple[PodStatus, ...]:
    """Pods with what their engines say of themselves."""
    out = []
    for pod in look.o.pods:
        kept = pod_status(status, pod.name)
        state = pod.state.mode.value if pod.state else "unreachable"
        reason = pod.state.reason.value if pod.state else (pod.error or pod.problem or "")
        out.append(replace(kept, state=state, reason=reason[:256], canary=pod.name in status.canary_pods))
    return tuple(out)


def _relied_on(status: Status) -> tuple[object, ...]:
    """What later looks rely on: persisted before the actions that follow from it."""
    step = (status.step.index, status.step.started_at, status.step.reached_at) if status.step else None
    pods = tuple((p.name, p.desired, p.epoch, p.confirmed, p.permit) for p in status.pods)
    return (
        status.phase,
        status.revision,
        status.revision_started_at,
        status.paused_at,
        status.epoch,
        status.canary_pods,
        status.route,
        status.fallback,
        status.rejected,
        status.traffic,
        step,
        pods,
    )


def _pause(look: Look, status: Status) -> Status:
    """Deadlines stand still while the spec says paused."""
    paused = look.o.spec is not None and look.o.spec.paused and status.phase in (Phase.SHADOWING, Phase.CANARY)
    if paused and not status.paused_at:
        return replace(status, paused_at=look.now)
    if paused or not status.paused_at:
        return status
    by = look.since(status.paused_at)
    step = status.step and replace(status.step, started_at=status.step.started_at + by)
    began = status.phase_started_at and status.phase_started_at + by
    return replace(status, paused_at=None, phase_started_at=began, step=step)


def _count(look: Look, status: Status, memory: Memory) -> Memory:
    """Users' requests seen in this phase or step: in shadow all, afterwards those under reuse."""
    shadow = status.phase is Phase.SHADOWING
    now = {
        (p.name, p.state.incarnation): p.state.requests.admitted_reuse + (p.state.requests.admitted_baseline if shadow else 0)
        for p in look.o.pods
        if p.state is not None
    }
    counting = f"{status.phase}/{status.step.index if status.step else ''}"
    if memory.admitted is None or memory.counting != counting:
        return replace(memory, counting=counting, admitted=now, requests_seen=status.requests_seen)
    new = sum(max(n - memory.admitted.get(life, n), 0) for life, n in now.items())
    return replace(memory, admitted={**memory.admitted, **now}, requests_seen=memory.requests_seen + new)


def _events(before: Status, status: Status) -> list[Event]:
    if before.phase is status.phase and before.revision == status.revision:
        return []
    bad = status.phase in (Phase.FALLING_BACK, Phase.FELL_BACK, Phase.FAILED)
    reason = status.fallback.cause if status.phase is Phase.FALLING_BACK and status.fallback else status.phase.value
    quiet = reason in ("Superseded", "RouteChanged", "Deleted")
    return [
        Event(type="Warning" if bad and not quiet else "Normal", reason=reason, message=f"{status.phase.value}: {status.message}"[:1000])
    ]

"""Leads from one look to a plan: evidence, then the phase, then what is wanted of pods and route, then the
actions that are missing.

Pure, and a function of the present only: whatever was done or not done before a crash shows in the
observation, so each look asks again for all that isn't as it should be. Order of actions: kills, which wait
for nothing; the status, if what follows relies on it; labels, route, flags.
"""

from dataclasses import replace

from indexcache_operator.api.status import Phase, Status
from indexcache_operator.model import Action, EnsureWorkload, Event, Observation, PersistStatus, Plan
from indexcache_operator.plan.evidence import collect, judging, probes
from indexcache_operator.plan.facts import checkpoint, measuring, reach
from indexcache_operator.plan.facts.memory import Memory
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import Snapshot, pod_status
from indexcache_operator.plan.phases import capping, deletion, fallback, triggers
from indexcache_operator.plan.phases.table import TABLE
from indexcache_operator.plan.report import commands, conditions, due, figures, publishing, reached, silence
from indexcache_operator.plan.report.traffic import traffic
from indexcache_operator.plan.traffic import arrival, draining
from indexcache_operator.plan.waits import rates
from indexcache_operator.plan.wanted import confirmation, flags, granting
from indexcache_operator.plan.wanted.targets import Targets, label_actions, route_actions

WITHOUT_WORKLOAD = frozenset({Phase.PENDING, Phase.FAILED, Phase.FALLING_BACK})


def plan(observation: Observation, memory: Memory | None = None) -> Plan[Memory]:
    """Return what follows from an observation. `memory` is the last plan's, or None after a start."""
    snapshot, before = Snapshot(observation), observation.status
    status = _pause(snapshot, triggers.stale(before))
    measured = (
        TABLE[status.phase].measures
        and observation.spec is not None
        and snapshot.wanted_revision == status.revision
    )
    remembered = collect.begin(snapshot, memory)
    situation = _understood(Situation(snapshot=snapshot, status=status, memory=remembered), measured)
    if measured:
        situation = replace(situation, status=measuring.note(snapshot, situation.status))
    situation = replace(situation, status=capping.cap(situation))
    ended = triggers.apply(situation)
    decided = ended if ended is not None else TABLE[status.phase].decide(situation)
    situation = replace(situation, status=decided)
    situation = replace(situation, status=granting.grant(situation))
    # What the new phase decides at once needs no look of its own: a fallback says from the beginning what it
    # waits for.
    targets = TABLE[situation.status.phase].targets(situation)
    kinds = _kinds(situation, targets)
    situation = replace(situation, status=flags.assign(situation, kinds))
    situation = replace(situation, status=_told(situation))
    shown, remembered = traffic(situation)
    situation = replace(situation, status=replace(situation.status, traffic=shown), memory=remembered)
    published, remembered = publishing.publish(situation, before, measured)
    situation = replace(situation, status=published, memory=remembered)
    published = replace(published, conditions=conditions.conditions(situation))
    return _assemble(replace(situation, status=published), before, targets, kinds)


def _understood(situation: Situation, measured: bool) -> Situation:
    """Return the situation with what is new in this look: what was measured, who was asked what, and where
    traffic went.
    """
    if measured:
        situation = replace(situation, memory=collect.observe(situation))
        situation = replace(situation, evidence=judging.judge(situation))
    situation = replace(situation, memory=rates.observe(situation))
    situation = replace(situation, memory=_count(situation))
    situation = replace(situation, memory=draining.observe(situation))
    situation = replace(situation, memory=confirmation.note_permits(situation))
    situation = replace(situation, memory=silence.note(situation))
    seen, remembered = arrival.observe(situation)
    return replace(situation, seen=seen, memory=remembered)


def _assemble(situation: Situation, before: Status, targets: Targets, kinds: dict[str, str]) -> Plan[Memory]:
    snapshot, status = situation.snapshot, situation.status
    actions: list[Action] = list(fallback.kills(situation, kinds))
    if _relied_on(status) != _relied_on(before):
        actions.append(PersistStatus())
    actions += commands.events(
        before, status
    )  # before what may fail: a command that does nothing is told in any case
    if (
        not snapshot.observation.deleting
        and not snapshot.observation.workload_current
        and status.phase not in WITHOUT_WORKLOAD
        and snapshot.observation.spec is not None
    ):
        actions.append(EnsureWorkload())
    actions += label_actions(snapshot, targets)
    actions += route_actions(situation, targets)
    actions += flags.puts(situation)
    asked = probes.choose(situation)
    memory = situation.memory
    if asked is not None:
        actions.append(asked)
        memory = probes.asked(memory, snapshot.now)
    actions += [*_events(before, status), *reached.events(before, status)]
    if snapshot.observation.deleting:
        actions += deletion.actions(situation)
    next_look = TABLE[status.phase].look_again
    return Plan(
        status=status,
        actions=tuple(actions),
        next_look=next_look,
        latest=due.latest(situation, next_look),
        unchanged_for=due.unchanged_for(situation),
        evidence=figures.live(situation) if TABLE[status.phase].measures else (),
        memory=memory,
    )


def _kinds(situation: Situation, targets: Targets) -> dict[str, str]:
    """Return the wanted flags of all pods. One on its way out keeps what it has, unless all go back."""
    if not targets.kinds:
        return {}
    pods, status = situation.snapshot.observation.pods, situation.status
    leaving = {p.name: flags.kind_of(pod_status(status, p.name)) for p in pods if p.deleting}
    return granting.held(situation, {**leaving, **targets.kinds})


def _told(situation: Situation) -> Status:
    """Return the status with what engines say of themselves, whose it is, and the generation that was looked
    at.
    """
    snapshot, status = situation.snapshot, situation.status
    pods = []
    for pod in snapshot.observation.pods:
        state = pod.state.mode.value if pod.state else "unreachable"
        reason = pod.state.reason.value if pod.state else (pod.error or pod.problem or "")
        kept, chosen = pod_status(status, pod.name), pod.name in status.canary_pods
        if silence.untold(situation, pod):
            state, reason = kept.state, kept.reason
        pods.append(replace(kept, state=state, reason=reason[:256], canary=chosen))
    seen = snapshot.observation
    runtime = status.runtime or seen.pinned_runtime
    if status.phase in triggers.ENGAGED:
        status = replace(status, checkpoint=status.checkpoint or checkpoint.sole(snapshot))
    return replace(
        status, pods=tuple(pods), observed_generation=seen.generation, uid=seen.uid, runtime=runtime
    )


def _relied_on(status: Status) -> tuple[object, ...]:
    """Return what later looks rely on: persisted before the actions that follow from it."""
    step = (status.step.index, status.step.started_at, status.step.reached_at) if status.step else None
    reaching = reach.decided(status.reach) if status.reach else None
    pods = tuple((p.name, p.desired, p.epoch, p.confirmed, p.permit) for p in status.pods)
    return (
        status.phase,
        status.revision,
        status.runtime,
        status.checkpoint,
        status.revision_started_at,
        status.paused_at,
        status.epoch,
        status.canary_pods,
        reaching,
        status.route,
        status.fallback,
        status.hold,
        status.rejected,
        status.traffic,
        step,
        pods,
        told.message if (told := commands.standing(status)) else "",
    )


def _pause(snapshot: Snapshot, status: Status) -> Status:
    """Return the status with deadlines that stand still while it is paused."""
    paused = bool(snapshot.paused) and status.phase in (Phase.SHADOWING, Phase.CANARY)
    if paused and not status.paused_at:
        return replace(status, paused_at=snapshot.now)
    if paused or not status.paused_at:
        return status
    by = snapshot.since(status.paused_at)
    step = status.step and replace(status.step, started_at=status.step.started_at + by)
    began = status.phase_started_at and status.phase_started_at + by
    return replace(status, paused_at=None, phase_started_at=began, step=step)


def _count(situation: Situation) -> Memory:
    """Return the memory with users' requests seen in this phase or step: in shadow all, afterwards those
    under reuse.
    """
    snapshot, status, memory = situation.snapshot, situation.status, situation.memory
    shadow = status.phase is Phase.SHADOWING
    now = {
        (p.name, p.state.incarnation): p.state.requests.admitted_reuse
        + (p.state.requests.admitted_baseline if shadow else 0)
        for p in snapshot.observation.pods
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
    held = before.phase is Phase.FALLING_BACK and status.phase is Phase.SHADOWING and status.hold is not None
    reason = (
        status.fallback.cause
        if status.phase is Phase.FALLING_BACK and status.fallback
        else "Held"
        if held
        else status.phase.value
    )
    quiet = reason in ("Superseded", "RouteChanged", "RouteTaken", "Deleted", "Restored")
    whose = f" ({status.fallback.origin.value})" if bad and status.fallback and status.fallback.origin else ""
    return [
        Event(
            type="Warning" if bad and not quiet else "Normal",
            reason=reason,
            message=f"{status.phase.value}{whose}: {status.message}"[:1000],
        )
    ]

"""Desired flags of each engine, and the epochs that fence them.

An epoch belongs to one content: engines refuse the same epoch with other content, and let nothing but a newer
epoch lead out of `tripped`. So a pod keeps the epoch at which its own content last changed, persisted before
it is used; a pod that restarted is given the same again. New epochs are newer than any that the status or any
engine knows, also after the status was restored from a backup, and than any that an earlier term's leader
could have given: the term is their upper half (api/epochs.py).
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from indexcache_core.contract import Desired, Flags, Identity, Mode, State
from indexcache_core.digest import digest

from indexcache_operator.api import epochs
from indexcache_operator.api.spec import Spec
from indexcache_operator.api.status import PodStatus, Status
from indexcache_operator.contracts import SPOKEN
from indexcache_operator.model import EnginePod, PutFlags
from indexcache_operator.plan.facts import reach
from indexcache_operator.plan.facts.guardrails import breaker, thresholds
from indexcache_operator.plan.facts.situation import Situation
from indexcache_operator.plan.facts.snapshot import OFF, pod_status

SHADOW, ON_CANARY_PERMIT, ON_PROMOTED_PERMIT = "shadow", "on-canary", "on-promoted"
"""Kinds of content, beside OFF: the two under reuse differ in their permit, spec.fallback.permit.canary or
.promoted. A promotion turns reuse on with the short one, and the long one comes once it is done.
"""
REUSING = (ON_CANARY_PERMIT, ON_PROMOTED_PERMIT)
RENEW_BELOW = 0.7
"""Of a permit: renewed once less than this is left, so that two renewals may fail before it lapses."""
TRIES = 3
"""Looks that fit between the time a permit is due to be renewed and its end."""


def content(situation: Situation, kind: str, reach_tokens: int = reach.UNBOUNDED) -> Desired:
    """Return the desired state of one kind, but for incarnation and epoch (empty, 1). Under reuse it reaches
    contexts of so many tokens.
    """
    snapshot, status = situation.snapshot, situation.status
    revision = "" if kind == OFF else status.revision
    who = Identity(
        namespace=snapshot.observation.namespace,
        rollout=snapshot.observation.name,
        uid=snapshot.observation.uid,
        revision=revision,
    )
    if kind == OFF:
        return Desired(incarnation="", epoch=1, flags=Flags(), identity=who)
    spec = snapshot.spec
    on = kind in REUSING
    cache = spec.index_cache
    return Desired(
        incarnation="",
        epoch=1,
        flags=Flags(
            mode=Mode.ON if on else Mode.SHADOW,
            pattern=cache.pattern,
            protected=tuple(cache.protected),
            min_context_tokens=cache.min_context_tokens,
            reach_tokens=reach.said(reach_tokens) if on else None,
            sample_rows=cache.sample_rows,
            in_flight=spec.fallback.in_flight,
            indexer=cache.indexer,
        ),
        permit_seconds=permit(spec, kind).total_seconds() if on else None,
        identity=who,
        thresholds=thresholds(spec),
        breaker=breaker(spec),
    )


def permit(spec: Spec, kind: str) -> timedelta:
    """Return how long reuse of this kind goes on without a renewal."""
    given = spec.fallback.permit
    return given.promoted if kind == ON_PROMOTED_PERMIT else given.canary


def name(desired: Desired, kind: str) -> str:
    """Return a content by name, as the status keeps it. A field at its default has none, so that a field
    which a new contract adds renames nothing.
    """
    if kind == OFF:
        return OFF
    return f"{kind}-{digest(desired.model_dump(mode='json', exclude_defaults=True), 8)}"


def assign(situation: Situation, kinds: dict[str, str]) -> Status:
    """Return the status with each pod's wanted content and its epoch; one new epoch for all that change."""
    snapshot, status = situation.snapshot, situation.status
    known = [status.epoch, *(p.state.epoch for p in snapshot.observation.pods if p.state)]
    new = max(max(known) + 1, epochs.first(snapshot.observation.term))
    used, pods = False, []
    for pod in snapshot.observation.pods:
        old = pod_status(status, pod.name)
        kind = kinds.get(pod.name, OFF)
        told = content(situation, kind, reach.of_pod(status, pod.name))
        wanted = name(told, kind)
        epoch = old.epoch
        if wanted != old.desired or (pod.state is not None and _overtaken(pod.state, told, epoch)):
            epoch, used = new, True
        lasts = permit(snapshot.spec, kind) if kind in REUSING else old.permit
        if (
            kind not in REUSING
            and pod.state is not None
            and pod.state.mode is not Mode.ON
            and pod.state.epoch >= epoch
        ):
            lasts = timedelta()
        # What a try confirmed ends with it: in the next the same engine has to drain and answer anew.
        kept = old.confirmed if kind in REUSING else ""
        pods.append(replace(old, desired=wanted, epoch=epoch, permit=lasts, confirmed=kept))
    return replace(status, pods=tuple(pods), epoch=new if used else status.epoch)


def _overtaken(state: State, wanted: Desired, epoch: int) -> bool:
    """Return whether an engine can't be brought to the wanted content under this epoch."""
    if state.epoch < epoch:
        return False
    if state.epoch > epoch and wanted.flags.mode != Mode.OFF:
        return True  # renewals under this epoch would be refused
    return state.epoch > 0 and not fulfils(state, wanted)


def fulfils(state: State, wanted: Desired) -> bool:
    """Return whether an engine does what the content says, as far as its contract can say it."""
    wanted = SPOKEN.held(wanted, state.contract)
    if wanted.flags.mode == Mode.OFF:
        return state.mode is Mode.OFF and state.desired.mode == Mode.OFF
    return (
        state.mode == wanted.flags.mode
        and state.desired == wanted.flags
        and state.identity == wanted.identity
        and state.thresholds == wanted.thresholds
    )


def settled(situation: Situation, pod: EnginePod) -> bool:
    """Return whether a pod's engine does what it was last wanted to do, under that epoch or a newer one."""
    kept = pod_status(situation.status, pod.name)
    return (
        pod.state is not None
        and pod.state.epoch >= kept.epoch
        and fulfils(pod.state, _wanted(situation, pod))
    )


def reusing(situation: Situation, pod: EnginePod) -> bool:
    """Return whether a pod's engine runs the reuse that is wanted of it, or the same within a narrower reach:
    one that is granted more is no less trusted until it has heard of it.
    """
    if pod.state is None or pod.state.mode is not Mode.ON:
        return False
    if settled(situation, pod):
        return True
    told = pod.state.desired.reach_tokens
    narrower = told is not None and told < reach.of_pod(situation.status, pod.name)
    wanted = _wanted(situation, pod)
    # Copies with a value that the engine itself said, which was validated when it was read.
    as_told = wanted.flags.model_copy(update={"reach_tokens": told})
    return narrower and fulfils(pod.state, wanted.model_copy(update={"flags": as_told}))


def knows_reach(pod: EnginePod, tokens: int) -> bool:
    """Return whether an engine can be told a reach. One of an older contract knows none, and would take it
    for every length.
    """
    if pod.state is None:
        return True
    told = Desired(incarnation="", epoch=1, flags=Flags(reach_tokens=reach.said(tokens)))
    return SPOKEN.held(told, pod.state.contract).flags == told.flags


def _wanted(situation: Situation, pod: EnginePod) -> Desired:
    """Return what was last wanted of a pod, but for incarnation and epoch."""
    kind = kind_of(pod_status(situation.status, pod.name))
    return content(situation, kind, reach.of_pod(situation.status, pod.name))


def kind_of(pod: PodStatus) -> str:
    """Return the kind of content by its name."""
    return next((k for k in (SHADOW, *REUSING) if pod.desired.startswith(k)), OFF)


def puts(situation: Situation) -> Iterable[PutFlags]:
    """Return what engines must be told: what they don't do yet, and renewals that are due. Nothing for an
    engine that can't be asked.
    """
    for pod in situation.snapshot.observation.pods:
        if pod.state is None:
            continue
        kept = pod_status(situation.status, pod.name)
        wanted = _wanted(situation, pod)
        done = pod.state.epoch >= kept.epoch and fulfils(pod.state, wanted)
        remaining = pod.state.permit_remaining_seconds
        due = wanted.permit_seconds is not None and (
            remaining is None or remaining < RENEW_BELOW * wanted.permit_seconds
        )
        if not done or due:
            told = _addressed(wanted, pod.state.incarnation, max(kept.epoch, 1))
            yield PutFlags(pod=pod.name, desired=told, contract=pod.state.contract)


def _addressed(content: Desired, incarnation: str, epoch: int) -> Desired:
    """Return the same content for one life of an engine, under an epoch."""
    return Desired(
        incarnation=incarnation,
        epoch=epoch,
        flags=content.flags,
        permit_seconds=content.permit_seconds,
        identity=content.identity,
        thresholds=content.thresholds,
        breaker=content.breaker,
    )

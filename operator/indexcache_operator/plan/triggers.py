"""What ends a try from outside its own phase, in order of rank: a deletion, a stop by anybody, a change of what is asked, a breach."""

from dataclasses import replace

from indexcache_core.contract import Mode, Reason
from indexcache_core.evidence import guardrails as judged
from indexcache_core.evidence import quality
from indexcache_core.evidence.verdict import log_limit

from indexcache_operator.api.status import Phase, Status
from indexcache_operator.plan import evidence_view, quality_view, revision
from indexcache_operator.plan.context import Context, fall_back
from indexcache_operator.plan.evidence_view import Answer
from indexcache_operator.plan.look import pod_status, wants_on
from indexcache_operator.plan.memory import TestKey

ENGAGED = frozenset({Phase.SHADOWING, Phase.CANARY, Phase.PROMOTING, Phase.PROMOTED})
"""Phases in which engines have been told something."""
CAUSES = {
    "overlap": "OverlapBelowThreshold",
    "recall": "RecallBelowThreshold",
    "recall_per_indexer": "RecallBelowThreshold",
    "quality": "QualityBelowThreshold",
}


def apply(c: Context) -> Status | None:
    """The status of a fallback that begins now; None if nothing calls for one."""
    look, status = c.look, c.status
    if look.o.deleting:
        return fall_back(look, status, "Deleted", "the rollout is being deleted")
    intent = status.fallback
    intended = intent is not None and intent.revision == status.revision
    if intended and status.phase in ENGAGED | {Phase.CHECKING}:
        return fall_back(look, status, "", "")
    if status.phase not in ENGAGED:
        return None
    if revision.killed(look.o.annotations, status.revision):
        return fall_back(look, status, "Killed", f"annotation {revision.KILL} names revision {status.revision}")
    if look.o.spec is None:
        return fall_back(look, status, "InvalidSpec", look.o.spec_problem or "the spec can't be read")
    if look.wanted_revision != status.revision:
        return fall_back(look, status, "Superseded", f"the spec asks for revision {look.wanted_revision}, {status.revision} ends")
    where, kept = look.spec.traffic.http_route, status.route
    if kept is not None and (where is None or (where.name, where.rule) != (kept.name, kept.rule)):
        return fall_back(look, status, "RouteChanged", f"spec.traffic.httpRoute no longer names rule {kept.rule} of {kept.name}")
    tripped = _tripped(c)
    if tripped is not None:
        return fall_back(look, status, *tripped)
    breach = c.evidence.breach()
    if breach is not None:
        answer, test = breach
        return fall_back(look, status, CAUSES[answer.guardrail.name], breach_message(c, answer, test))
    return None


def stale(status: Status) -> Status:
    """The status without an intent that speaks of another revision: an old alert must not end a new try."""
    intent = status.fallback
    if intent is not None and status.revision and intent.revision != status.revision:
        return replace(status, fallback=None)
    return status


def _tripped(c: Context) -> tuple[str, str] | None:
    """An engine that was stopped by somebody else, or by its own breaker. A lapsed permit is no cause: the operator was away."""
    for pod in c.look.o.pods:
        kept = pod_status(c.status, pod.name)
        if pod.state is None or pod.state.mode is not Mode.TRIPPED or not wants_on(kept.desired) or pod.state.epoch < kept.epoch:
            continue
        if pod.state.reason is Reason.BREAKER:
            return "EngineBreaker", f"pod {pod.name}: {pod.state.message or 'its own breaker stopped reuse'}"
        if pod.state.reason is Reason.KILLED:
            return _killed_for(c.status.revision, pod.name, pod.state.message)
    return None


def _killed_for(revision_: str, pod: str, said: str) -> tuple[str, str]:
    """Why an engine was killed. If the operator crashed between its kill and writing down the intent, the engine holds the cause."""
    cause, _, rest = said.partition(f": revision {revision_}: ")
    if rest and cause.isalpha():
        return cause, rest
    return "Killed", f"pod {pod}: {said or 'stopped over its control port'}"


def breach_message(c: Context, answer: Answer, test: TestKey) -> str:
    """The figures of a breach, for people."""
    guardrail, judgement = answer.guardrail, answer.judgements[test]
    evidence = judged.evidence_message(judgement.log_e, log_limit(guardrail.alpha))
    asked = c.look.spec.guardrails.quality
    if guardrail.name == "quality" and asked is not None:
        drop = None if judgement.mean is None else quality.drop(judgement.mean, asked.max_logprob_drop)
        return judged.quality_message(drop, asked.max_logprob_drop, evidence)
    decisive, mean = evidence_view.decisive(c.memory, guardrail, test)
    assert guardrail.threshold is not None
    shown = TestKey(guardrail.name, test.site, decisive.context)
    k = quality_view.site_k(c.look)
    return judged.breach_message(shown, k=k, mean=mean, threshold=guardrail.threshold, evidence=evidence)

"""Tells which certificate is waited for, how many observations it has and needs, and for how long. Of
those on what engines measure it is one of the shortest contexts that hold the reach back.

A mean that is near its threshold may need more observations than will ever come: then traffic is not what is
missing. Without observations it is said what is missing for one: requests, requests of a length that is
judged, or measurements of them.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from indexcache_core.evidence import certificate, disasters
from indexcache_core.evidence.guardrails import PROBED, Name
from indexcache_core.evidence.verdict import Judgement, Verdict
from indexcache_core.histogram import of

from indexcache_operator.api.status import Origin, Phase, WaitStatus
from indexcache_operator.plan.facts.memory import TestKey
from indexcache_operator.plan.facts.situation import Answer, Situation
from indexcache_operator.plan.waits import rates, reaching, words

TELLING = 5
"""Requests of judged lengths of which one should have been measured."""

OF_LENGTHS = ("EvidenceWanted", "Undecided", "NoObservations")
"""Reasons of waits for certificates of one bucket of context length."""

LOOSER: Mapping[Name, str] = {
    "quality": "allow a larger drop",
    "disasters": "allow a larger maxDisasterShare",
}
"""What else a person can do about a guardrail whose mean is too near its threshold."""

NOTHING_ACTS = WaitStatus(
    origin=Origin.USER,
    reason="NothingActs",
    message="no guardrail on what engines measure acts",
    way_out="set a threshold in spec.guardrails, or unguarded: true to expose users without evidence",
)


class Wanted(NamedTuple):
    """Names a certificate that isn't there yet."""

    answer: Answer
    key: TestKey
    judgement: Judgement | None


def wanted(situation: Situation) -> list[Wanted]:
    """Return the certificates that are waited for; shadow doesn't wait for those on probes."""
    shadow = situation.status.phase is Phase.SHADOWING
    out = []
    for answer in situation.evidence.acting:
        name = answer.guardrail.name
        if answer.verdict is Verdict.CERTIFIED or (shadow and name in PROBED):
            continue
        found = [
            Wanted(answer, key, judgement)
            for key, judgement in answer.judgements.items()
            if judgement.verdict is not Verdict.CERTIFIED and _is_needed(situation, key)
        ]
        out += found or [Wanted(answer, TestKey(name), None)]
    shortest = min((w.key.context for w in out if w.key.context is not None), default=None)
    return [w for w in out if w.key.context in (None, shortest)]


def _is_needed(situation: Situation, key: TestKey) -> bool:
    return key.context is None or (key.context, key.work) in situation.evidence.wanted


def needed(situation: Situation) -> int | None:
    """Return how many observations the slowest certificate that is waited for still wants; None if one can't
    be estimated.
    """
    found = [w.judgement.needed if w.judgement else None for w in wanted(situation)]
    known = [n for n in found if n is not None]
    return None if len(known) < len(found) else max(known, default=0)


def waiting(situation: Situation) -> WaitStatus | None:
    """Return the wait for the slowest certificate, else for a reach that holds enough; None if both are
    there.
    """
    found, said = wanted(situation), situation.evidence
    if not found and not (said.acting or said.unguarded):
        return NOTHING_ACTS
    if (capped := _capped(situation)) is not None:
        return capped
    if not found:
        shadow = situation.status.phase is Phase.SHADOWING
        return None if said.certified(without_quality=shadow) else _reach(situation)
    wait = _slowest(situation, found)
    beyond = reaching.beyond(situation) if wait.reason in OF_LENGTHS else ""
    return replace(wait, message=f"{wait.message}; {beyond}") if beyond else wait


def _capped(situation: Situation) -> WaitStatus | None:
    """Return the wait for requests that show whether enough is left under a cap; None where enough is."""
    kept, said = situation.status.reach, situation.evidence
    if kept is None or kept.cap is None or not said.measured or said.reaches.enough(kept.cap.tokens):
        return None
    missing = situation.snapshot.spec.strategy.shadow.min_requests - situation.memory.requests_seen
    return WaitStatus(
        origin=Origin.TRAFFIC,
        reason="ReachCapped",
        message=f"{max(missing, 1)} more requests, to show whether enough is left "
        f"without contexts over {kept.cap.tokens:,} tokens: {kept.cap.message}",
        requests_per_minute=rates.requests_per_minute(situation),
        way_out="try a pattern with more F, or lower spec.strategy.reach.minShare",
    )


def _reach(situation: Situation) -> WaitStatus:
    """Return the wait for a reach that holds enough of the work, though all certificates that could be named
    are there.
    """
    if situation.evidence.reaches.share(0) is None:
        return WaitStatus(
            origin=Origin.TRAFFIC,
            reason="NoRequestEnded",
            message="no user's request has ended yet, so what contexts cost isn't known",
            requests_per_minute=rates.requests_per_minute(situation),
            way_out="nothing need be done: it is told by the first requests that end",
        )
    return WaitStatus(
        origin=Origin.TRAFFIC,
        reason="ReachWanted",
        message=f"{reaching.beyond(situation)}, and their certificates are still wanted",
        requests_per_minute=rates.requests_per_minute(situation),
        way_out=f"{_faster(situation)}; or lower spec.strategy.reach.minShare",
    )


def of_probes(situation: Situation) -> WaitStatus | None:
    """Return the wait for the slowest certificate on probes; None if all are there."""
    found = [w for w in wanted(situation) if w.key.guardrail in PROBED]
    return _slowest(situation, found) if found else None


def _slowest(situation: Situation, found: list[Wanted]) -> WaitStatus:
    empty = next((w for w in found if w.judgement is None or not w.judgement.samples), None)
    if empty is not None:
        return _nothing(situation, empty)
    needs = [(w, w.judgement.needed if w.judgement else None) for w in found]
    never = next((w for w, needed in needs if needed is None), None)
    if never is not None:
        return _undecided(situation, never)
    slowest, needed = max(needs, key=lambda each: each[1] or 0)
    return _evidence(situation, slowest, needed or 0)


def _evidence(situation: Situation, slowest: Wanted, needed: int) -> WaitStatus:
    pace, step = situation.memory.pace, situation.status.step
    per_minute = pace.per_minute(rates.counted(slowest.key)) if pace else None
    requests = rates.requests_per_minute(situation)
    left = rates.minutes(needed, per_minute)
    expected = words.about(left) if left else ""
    probes = slowest.key.guardrail in PROBED
    rate = None
    if step is not None and not probes:
        within = situation.snapshot.spec.strategy.progress_deadline
        rate = rates.rate_for(needed, within, per_minute=per_minute, requests=requests, weight=step.weight)
    return WaitStatus(
        origin=Origin.PLATFORM if probes else Origin.TRAFFIC,
        reason="ProbesWanted" if probes else "EvidenceWanted",
        message=f"{needed} more observations of {words.test(slowest.key, situation.snapshot.k)}"
        + (f", about {expected}" if expected else ""),
        observations=_have(slowest),
        observations_needed=needed,
        requests_per_minute=requests,
        requests_per_minute_needed=rate,
        expected=expected,
        way_out="nothing need be done: probes are asked one by one" if probes else _faster(situation),
    )


def _have(found: Wanted) -> int:
    return found.judgement.samples if found.judgement else 0


def _undecided(situation: Situation, never: Wanted) -> WaitStatus:
    test = words.test(never.key, situation.snapshot.k)
    looser = LOOSER.get(never.key.guardrail, "lower the threshold")
    return WaitStatus(
        origin=Origin.PATTERN,
        reason="Undecided",
        message=f"{test} is too near its threshold to be certified",
        observations=_have(never),
        requests_per_minute=rates.requests_per_minute(situation),
        way_out=f"more observations may still tell; else {looser}, or try a pattern with more F",
    )


def _nothing(situation: Situation, empty: Wanted) -> WaitStatus:
    wait = WaitStatus(
        origin=Origin.PLATFORM,
        reason="NoProbeAnswered",
        message="no probe was answered yet",
        observations=0,
        observations_needed=least(empty),
        requests_per_minute=rates.requests_per_minute(situation),
        way_out="the operator's log says why probes fail, if they do",
    )
    if empty.key.guardrail in PROBED:
        return wait
    message = f"no observation of {words.test(empty.key, situation.snapshot.k)} yet"
    came, judged, step = rates.requests_here(situation), situation.evidence.judged, situation.status.step
    why = _why(situation, empty)
    if step is None and min(came, judged) >= TELLING:
        return replace(
            wait,
            reason="NothingMeasured",
            message=f"{message}, though requests come that are long enough",
            way_out="look at the engines' logs, and whether they serve steps of this pattern at all",
        )
    rate = None
    if step is not None:
        within, wanted_ = situation.snapshot.spec.strategy.progress_deadline, least(empty)
        rate = rates.rate_for(wanted_, within, per_minute=None, requests=None, weight=step.weight)
    return replace(
        wait,
        origin=Origin.TRAFFIC,
        reason="NoObservations",
        message=f"{message}: {why}" if why else message,
        requests_per_minute_needed=rate,
        way_out=_faster(situation),
    )


def _why(situation: Situation, empty: Wanted) -> str:
    """Return which requests are missing for an observation; empty where none seem to be."""
    if not rates.requests_here(situation):
        return "no request came"
    if not situation.evidence.judged:
        return "no request was long enough to be judged"
    share = reaching.share_of(situation, empty.key.context)
    return "no request of that length comes" if share == 0.0 else ""


def least(empty: Wanted) -> int:
    """Return how many observations a certificate needs at least, all of them the best that there are."""
    guardrail = empty.answer.guardrail
    assert guardrail.threshold is not None
    best = of([0.5 if guardrail.name == "quality" else 1.0])
    needed = disasters.still_needed if guardrail.name == "disasters" else certificate.still_needed
    return (needed(best, guardrail.threshold, guardrail.beta) or 0) + 1


def _faster(situation: Situation) -> str:
    if situation.status.phase is Phase.SHADOWING:
        return "nothing need be done: nobody is exposed, and the certificate comes with the requests"
    return "send it more traffic, give its steps more weight, or lengthen spec.strategy.progressDeadline"

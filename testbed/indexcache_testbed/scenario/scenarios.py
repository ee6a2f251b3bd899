"""The five scenarios. Each plays on the stage as it finds it and leaves the engines at work for the next.

Traffic never stops while they play: users ask, and every answer is checked. Short tables have 16 pairs and
come with 47 questions already answered (176 tokens), medium ones 128 pairs (259 tokens), long ones 256 (515
tokens); the model's k is 64.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from indexcache_core.contract import Mode, Reason

from indexcache_testbed.scenario import alerting, install, kubectl
from indexcache_testbed.scenario.evidence import first_breach, last_renewal
from indexcache_testbed.scenario.outcome import Outcome
from indexcache_testbed.scenario.stage import Stage
from indexcache_testbed.scenario.watch import Witness, reusing

SHORT, MEDIUM, LONG = (16, 47), (128, 0), (256, 0)
"""Pairs, and questions before."""
UNHURRIED = 2.0
"""Seconds that users think between two questions, where engines shall have time to spare."""
SETTLED = 1.0
"""Seconds after which answers name the mode that the engines are in now: they read it every half second."""
PERMIT = 5.0
"""Seconds, as the examples have it."""

Scenario = Callable[[Stage], Awaitable[Outcome]]


async def good(stage: Stage) -> Outcome:
    """Roll out a pattern that keeps the answers: it goes all the way."""
    stage.begin()
    stage.load.about(*MEDIUM)
    rollout = await stage.apply("demo-good")
    stage.say("half the indexers share; the evidence must certify every step")
    await stage.witness.until_phase("Promoted", within=240)
    outcome = stage.outcome("a", "good pattern", _pattern(rollout), Mode.ON)
    outcome.trigger = "none: promoted"
    return outcome


async def harmful(stage: Stage) -> Outcome:
    """Roll out a pattern that ruins answers: it is seen in shadow, and nobody is exposed."""
    stage.begin()
    stage.load.about(*LONG)
    rollout = await stage.apply("demo-harmful")
    await stage.witness.until_phase("Shadowing", "FallingBack", "FellBack", within=60)
    shadowed = time.monotonic() + SETTLED
    await stage.witness.until_phase("FellBack", within=120)
    outcome = stage.outcome(
        "b", "harmful pattern, stopped in shadow", _pattern(rollout), Mode.SHADOW, since=shadowed
    )
    outcome.admitted_after = outcome.admitted_under_reuse
    outcome.trigger = "evidence in shadow"
    return outcome


async def drift(stage: Stage) -> Outcome:
    """Roll out a pattern that is harmless on short tables and ruinous on long ones: the users' tables grow
    while it is exposed.
    """
    stage.begin()
    stage.load.about(*SHORT)
    rollout = await stage.apply("demo-drift")
    last = rollout["spec"]["strategy"]["steps"][-1]["weight"]
    await stage.until_exposed(last, within=180)
    stage.say(
        f"{last} % of the traffic on the canary; now the users' tables grow from {SHORT[0]} to {LONG[0]} "
        "pairs"
    )
    stage.load.about(*LONG)
    grown = time.monotonic()
    await stage.witness.until_phase("FellBack", within=120)
    outcome = stage.outcome("c", "drift after exposure, stopped by evidence", _pattern(rollout), Mode.ON)
    outcome.trigger = "the engines' counters hold the evidence"
    minimum = rollout["spec"]["guardrails"]["recall"]["perIndexerMin"]
    status = stage.witness.now.status
    breach = first_breach(
        stage.looks(),
        revision=status["revision"],
        began=_monotonic(status["revisionStartedAt"]),
        minimum=minimum,
        alpha=_alpha(stage.witness),
    )
    _times(stage, outcome, breach if breach is not None else grown)
    if breach is None:
        outcome.notes.append("the recomputed evidence never breached: times are from the tables' growth")
    return outcome


async def operator_lost(stage: Stage) -> Outcome:
    """Take the operator away in mid-canary: the engines return to the baseline by themselves when their
    permit lapses.
    """
    stage.begin()
    stage.load.about(*MEDIUM)
    rollout = await stage.apply("demo-good", _hold_steps)
    await stage.until_exposed(rollout["spec"]["strategy"]["steps"][0]["weight"], within=180)
    step = stage.witness.now.status["step"]["index"]
    stage.say("the operator is scaled to 0, without grace")
    await scale_operator(0)
    await stage.witness.until(
        "all engines at the baseline", lambda w: bool(w.engines) and not reusing(w.looks[-1]), within=30
    )
    lapsed = [pod for pod, s in stage.witness.engines.items() if s.reason is Reason.PERMIT_LAPSED]
    outcome = stage.outcome("d", "operator lost in mid-canary", _pattern(rollout), Mode.ON)
    outcome.trigger = "the permit's last renewal"
    renewed = last_renewal(stage.looks(), PERMIT)
    off = stage.off_since(renewed) if renewed else None
    outcome.breach_to_off = off - renewed if off and renewed else None
    outcome.admitted_after = stage.admitted_between(off, time.monotonic()) if off else None
    outcome.ended = f"{', '.join(sorted(lapsed)) or 'no engine'}: {Reason.PERMIT_LAPSED.value}"
    stage.say("the operator comes back")
    await scale_operator(1)
    await stage.witness.until("reuse on again", lambda w: bool(w.looks and reusing(w.looks[-1])), within=90)
    after = stage.witness.now.status.get("step") or {}
    outcome.notes.append(f"step before {step}, after the operator's return {after.get('index')}")
    return outcome


async def alert(stage: Stage) -> Outcome:
    """Let all guardrails only observe, so that neither the operator nor a breaker acts on the evidence:
    Prometheus sees it reach its limit, Alertmanager calls, the operator rolls back.
    """
    stage.begin()
    stage.load.about(*LONG, pause=UNHURRIED)
    rollout = await stage.apply("demo-alert")
    await stage.witness.until_phase("Canary", within=180)
    exposed = await stage.witness.until(
        "an engine reusing", lambda w: bool(w.looks and reusing(w.looks[-1])), within=60
    )
    await stage.witness.until_phase("FellBack", within=180)
    outcome = stage.outcome(
        "e", "alert from Prometheus, guardrails only observing", _pattern(rollout), Mode.ON
    )
    outcome.trigger = "an alert's rule holds, by Prometheus' record"
    held = await alerting.first_held(
        stage.witness.now.object["metadata"]["uid"], stage.witness.now.status["revision"], stage.started
    )
    _times(stage, outcome, held if held is not None else exposed)
    if held is None:
        outcome.notes.append("no rule ever held by Prometheus' record: times are from the first exposure")
    return outcome


ALL: tuple[Scenario, ...] = (good, harmful, drift, operator_lost, alert)


async def scale_operator(replicas: int) -> None:
    """Scale the operator; to 0 without grace, as if its node had died."""
    await kubectl.kubectl(
        "-n", install.OPERATOR_NAMESPACE, "scale", "deployment", install.OPERATOR, f"--replicas={replicas}"
    )
    if not replicas:
        selector = ("-l", "app.kubernetes.io/name=indexcache-operator")
        await kubectl.kubectl(
            "-n",
            install.OPERATOR_NAMESPACE,
            "delete",
            "pod",
            *selector,
            "--grace-period=0",
            "--force",
            "--ignore-not-found",
        )


def _times(stage: Stage, outcome: Outcome, trigger: float) -> None:
    """Fill in how long the fallback took from the trigger on."""
    off = stage.off_since(trigger)
    zero = stage.zero_since(trigger, f"{stage.witness.rollout}-canary")
    outcome.breach_to_off = off - trigger if off else None
    outcome.breach_to_zero = zero - trigger if zero else None
    outcome.admitted_after = stage.admitted_between(off, time.monotonic()) if off else None
    last_on = [look for look in stage.looks() if reusing(look)]
    outcome.in_flight = (
        sum(s.requests.running_reuse for s in last_on[-1].states.values()) if last_on else None
    )


def _pattern(rollout: dict[str, Any]) -> str:
    return str(rollout["spec"]["indexCache"]["pattern"])


def _hold_steps(rollout: dict[str, Any]) -> None:
    """Let each step last long enough to take the operator away in it."""
    for step in rollout["spec"]["strategy"]["steps"]:
        step["minDuration"] = "10m"


def _alpha(witness: Witness) -> float:
    """Return one test's part of the chance of a false rollback, as the status states it."""
    found = [e["alpha"] for e in witness.now.status.get("evidence", []) if e.get("indexer") is not None]
    return float(min(found))


def _monotonic(moment: str) -> float:
    """Return a moment of the status as seconds of time.monotonic()."""
    return time.monotonic() - (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()

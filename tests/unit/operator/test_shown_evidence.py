"""Tests what metrics say of the evidence."""

from dataclasses import replace

from indexcache_core.evidence.verdict import Verdict
from indexcache_operator import figures
from indexcache_operator.api.status import EvidenceStatus, ReachStatus
from indexcache_operator.metrics import LOG_EVIDENCE, LOG_LIMIT, LOWER_BOUND, REACH, REACH_SHARE, Figures
from indexcache_operator.model import LiveEvidence, Plan
from prometheus_client import REGISTRY, generate_latest

from tests.unit.operator.plan.build import REVISION, granted, observation, status

WHO = ("ns", "chat", "uid", REVISION, "recall")
ROWS = tuple(
    EvidenceStatus(guardrail="recall", verdict=Verdict.HOLDING, alpha=0.01, lower_bound=bound)
    for bound in (0.6, 0.4, None)
)
LIVE = (LiveEvidence(guardrail="recall", log_e=1.5, log_limit=6.7),)


def plan(evidence: tuple[LiveEvidence, ...] = LIVE) -> Plan[None]:
    return Plan(status=status(evidence=ROWS, reach=None), evidence=evidence, memory=None)


def test_evidence_its_limit_and_the_lowest_bound_name_whom_they_speak_of() -> None:
    assert list(figures.values(observation(), plan())) == [
        (LOG_EVIDENCE, WHO, 1.5),
        (LOG_LIMIT, WHO, 6.7),
        (LOWER_BOUND, WHO, 0.4),
    ]


def test_where_nothing_is_measured_nothing_is_said() -> None:
    assert list(figures.values(observation(), plan(()))) == []


def test_the_reach_is_said_of_all_pods_and_of_the_canarys_once_something_is_granted() -> None:
    def said(kept: ReachStatus) -> list[figures.Value]:
        made = plan(())
        return list(figures.values(observation(), replace(made, status=replace(made.status, reach=kept))))

    pods = [(REACH, ("ns", "chat", "all"), 32), (REACH, ("ns", "chat", "canary"), 64)]
    assert said(granted(32, 64)) == pods
    assert said(granted(32, 64, share=0.5)) == [*pods, (REACH_SHARE, ("ns", "chat"), 0.5)]
    assert said(ReachStatus(share=0.5)) == []


def labels() -> set[tuple[str, ...]]:
    samples = [sample for family in LOG_EVIDENCE.collect() for sample in family.samples]
    return {tuple(s.labels.values()) for s in samples if s.labels["rollout"] == "chat"}


def test_what_is_no_longer_said_goes() -> None:
    shown = Figures()
    shown.show(figures.values(observation(), plan()))
    assert labels() == {WHO}
    other = replace(plan(), status=replace(plan().status, revision="other"))
    shown.show(figures.values(observation(), other))
    assert labels() == {("ns", "chat", "uid", "other", "recall")}
    shown.show(())
    assert labels() == set()


def test_a_scrape_shows_values_as_gauges_with_their_labels() -> None:
    shown = Figures()
    shown.show([(REACH, ("ns", "scraped", "all"), 32.0)])
    line = 'indexcache_operator_reach_tokens{namespace="ns",pods="all",rollout="scraped"} 32.0'
    text = generate_latest(REGISTRY).decode()
    assert "# TYPE indexcache_operator_reach_tokens gauge" in text
    assert line in text
    shown.show(())
    assert line not in generate_latest(REGISTRY).decode()

"""Pods as the kubelet reports them."""

from typing import Any

import pytest
from indexcache_operator import names
from indexcache_operator.observe import pods


def pod(labels: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "labels": labels or {}}, "status": status}


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {
        "containerStatuses": [
            {"name": "engine", "state": {"waiting": {"reason": reason, "message": message}}, **more}
        ]
    }


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (waiting("ImagePullBackOff", "no such image"), ["engine", "ImagePullBackOff", "no such image"]),
        (
            waiting(
                "CrashLoopBackOff",
                "back-off",
                lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            ),
            ["CrashLoopBackOff", "137", "OOMKilled"],
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes: no GPU"}]},
            ["not scheduled", "no GPU"],
        ),
        (
            {
                "initContainerStatuses": [
                    {"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
                ]
            },
            ["container i", "code 1"],
        ),
    ],
)
def test_says_why_a_pod_is_not_ready(status: dict[str, Any], words: list[str]) -> None:
    found = pods.problem(status)
    assert found is not None
    for word in words:
        assert word in found


@pytest.mark.parametrize(
    "status",
    [
        {},
        waiting("ContainerCreating"),
        waiting("PodInitializing"),
        {"phase": "Running", "containerStatuses": []},
    ],
)
def test_a_pod_that_only_takes_its_time_has_no_problem(status: dict[str, Any]) -> None:
    assert pods.problem(status) is None


def test_reads_labels_and_readiness() -> None:
    raw = pod(
        {names.BASELINE_LABEL: "true", names.TEMPLATE_LABEL: "t"},
        podIP="10.0.0.1",
        conditions=[{"type": "Ready", "status": "True"}],
    )
    found = pods.engine_pod(raw, template="t", state=None, error="x")
    assert (found.ready, found.baseline_label, found.canary_label, found.current, found.ip) == (
        True,
        True,
        False,
        True,
        "10.0.0.1",
    )
    assert not pods.engine_pod(raw, template="u", state=None, error=None).current
    assert not pods.engine_pod(raw, template=None, state=None, error=None).current


@pytest.mark.parametrize(
    ("status", "ip"),
    [({"phase": "Running", "podIP": "1"}, "1"), ({"phase": "Pending", "podIP": "1"}, None), ({}, None)],
)
def test_asks_only_pods_that_run(status: dict[str, Any], ip: str | None) -> None:
    assert pods.askable(pod(**status)) == ip


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("Failed", True),
        ("Succeeded", True),
        ("Running", False),
        ("Pending", False),
        ("Unknown", False),
        (None, False),
    ],
)
def test_a_pod_that_has_ended_is_none(phase: str | None, expected: bool) -> None:
    """An evicted pod's object may stay for days: it would hold a check, or half a canary's weight, for
    ever.
    """
    assert pods.ended({"status": {"phase": phase, "reason": "Evicted"}}) is (phase in ("Failed", "Succeeded"))
    assert pods.ended({}) is False

"""Tests when a status is written."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from indexcache_core.evidence.verdict import Verdict
from indexcache_operator.act.status import QUIET_SECONDS, StatusWriter
from indexcache_operator.api.status import (
    EvidenceStatus,
    FallbackStatus,
    Phase,
    PodStatus,
    Status,
    StepStatus,
)
from indexcache_operator.kube import KubeError

from scripts.generate.crd import root_schema
from tests.unit.structural import problems

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATUS = Status(phase=Phase.CANARY, epoch=3, step=StepStatus(index=0, weight=5, started_at=NOW))
EVIDENCE = EvidenceStatus(guardrail="recall", verdict=Verdict.HOLDING, threshold=0.3, alpha=0.01)


CRD = root_schema()["properties"]["status"]


class Api:
    """Takes every write that the CRD lets through."""

    async def replace(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if found := problems(CRD, body["status"]):
            raise KubeError(422, "Invalid", "; ".join(found))
        return body


async def writer_at(now: list[float]) -> StatusWriter:
    writer = StatusWriter(clock=lambda: now[0])
    raw = {"metadata": {"name": "r", "namespace": "n", "resourceVersion": "1"}}
    await writer.write(Api(), raw, STATUS)  # type: ignore[arg-type]
    return writer


QUIET = [
    {"evidence": (EVIDENCE,)},
    {"recall": "0.91", "reason": "96 more requests needed"},
    {"message": "m"},
    {"step": replace(STATUS.step, requests_seen=9, requests_needed=1) if STATUS.step else None},
    {"traffic": replace(STATUS.traffic, observed=5)},
]
LOUD = [
    {"phase": Phase.FALLING_BACK},
    {"epoch": 4},
    {"fallback": FallbackStatus(cause="c", since=NOW, revision="r")},
    {"canary_pods": ("p",)},
    {"step": None},
    {"traffic": replace(STATUS.traffic, desired=5)},
]


@pytest.mark.parametrize("change", QUIET)
async def test_numbers_wait(change: dict[str, Any]) -> None:
    now = [100.0]
    writer = await writer_at(now)
    changed = replace(STATUS, **change)
    assert not writer.due(STATUS, changed)
    now[0] += QUIET_SECONDS
    assert writer.due(STATUS, changed)


@pytest.mark.parametrize("change", LOUD)
async def test_what_happened_does_not(change: dict[str, Any]) -> None:
    writer = await writer_at([100.0])
    assert writer.due(STATUS, replace(STATUS, **change))


async def test_what_an_older_crd_drops_is_not_written_again() -> None:
    """Applied after the operator, it would have each look write: the field is missing again in each."""

    class OlderApi(Api):
        async def replace(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
            kept = {name: value for name, value in body["status"].items() if name != "runtime"}
            return {**body, "status": kept}

    now = [100.0]
    writer = StatusWriter(clock=lambda: now[0])
    raw = {"metadata": {"name": "r", "namespace": "n", "resourceVersion": "1"}}
    wanted = replace(STATUS, runtime="runtime:1")
    assert not writer.kept(STATUS, wanted)
    await writer.write(OlderApi(), raw, wanted)  # type: ignore[arg-type]
    now[0] += 3600
    assert not writer.due(STATUS, wanted)
    assert writer.kept(STATUS, wanted)
    later = replace(wanted, epoch=4)
    assert writer.due(STATUS, later)
    assert not writer.kept(STATUS, later)
    other = replace(STATUS, epoch=2)  # somebody wrote in between
    assert writer.due(other, wanted)
    assert not writer.kept(other, wanted)


async def test_a_steady_state_writes_nothing() -> None:
    now = [100.0]
    writer = await writer_at(now)
    now[0] += 3600
    assert not writer.due(STATUS, replace(STATUS))


@pytest.mark.parametrize(
    "change",
    [
        {"message": "x" * 5000},
        {"fallback": FallbackStatus(cause="c", message="y" * 5000, since=NOW, revision="r")},
        {"pods": tuple(PodStatus(name=f"p{i}", reason="z" * 5000) for i in range(1500))},
        {"evidence": (replace(EVIDENCE, mean=math.nan, e_value=math.inf),)},
        {"epoch": 2**63},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_no_status_is_refused_by_its_own_crd_so_that_what_comes_after_it_is_done(
    change: dict[str, Any],
) -> None:
    writer = StatusWriter()
    raw = {"metadata": {"name": "r", "namespace": "n", "resourceVersion": "1"}}
    stored = await writer.write(Api(), raw, replace(STATUS, **change))  # type: ignore[arg-type]
    assert stored["status"]["phase"] == "Canary"

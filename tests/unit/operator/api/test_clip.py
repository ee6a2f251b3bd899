"""Whatever a status holds, what is written of it passes the CRD; what fits is written as it is."""

import dataclasses
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from indexcache_core.evidence.verdict import Verdict
from indexcache_operator.api import clip, stored
from indexcache_operator.api.status import (
    Condition,
    EvidenceStatus,
    FallbackStatus,
    HistoryEntry,
    Phase,
    PodStatus,
    QualityStatus,
    Rejected,
    RouteStatus,
    Status,
    StepStatus,
    TrafficStatus,
)
from indexcache_operator.api.structural import structural
from indexcache_operator.plan import plan

from scripts.generate.crd import CRD_FILE
from tests.unit.operator.plan.build import observation, pod, status
from tests.unit.structural import Schema, problems

CRD: Schema = yaml.safe_load(CRD_FILE.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"][
    "properties"
]["status"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LONG, MANY = "é" * 5000, 1100


def written(held: Status) -> dict[str, Any]:
    """Return what is written of a status, through JSON as strict as the API's, after checking it against the
    CRD that is applied.
    """
    out: dict[str, Any] = json.loads(json.dumps(stored.dump(held), allow_nan=False))
    assert problems(CRD, out) == []
    assert len(json.dumps(out)) <= clip.MAX_BYTES
    return out


TEXTS = st.text(max_size=20) | st.builds(
    lambda text, n: text * n, st.text(min_size=1, max_size=4), st.integers(1000, 3000)
)
TIMES = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))
BACKENDS = st.dictionaries(
    st.text(max_size=5), st.recursive(st.none() | st.floats() | st.text(max_size=9), st.lists, max_leaves=4)
)


def lists(items: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Draw tuples of a few items, or of more than any list may have."""
    return st.lists(items, max_size=3).map(tuple) | st.builds(lambda item: (item,) * MANY, items)


FIELDS: dict[type, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: st.integers(),
    float: st.floats(),
    datetime: TIMES,
    timedelta: st.timedeltas(),
}


def everything(model: type, **own: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw any value of a part of the status: each field by its type, `own` where a type isn't told by a
    table."""
    hints = {field.name: field.type for field in dataclasses.fields(model)}
    plain = {"str": str, "int": int, "float": float, "Time": datetime}
    made: dict[str, st.SearchStrategy[Any]] = {}
    for name, hint in hints.items():
        text = hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))
        if name in own:
            made[name] = own[name]
        elif text in plain:
            made[name] = FIELDS[plain[text]]
    return st.builds(model, **made)


STATUSES = everything(
    Status,
    phase=st.sampled_from(Phase),
    phase_started_at=st.none() | TIMES,
    step=st.none() | everything(StepStatus, started_at=TIMES, requests_needed=st.none() | st.integers()),
    route=st.none() | everything(RouteStatus, original_backends=lists(BACKENDS)),
    traffic=everything(TrafficStatus, observed=st.none() | st.integers()),
    canary_pods=lists(TEXTS),
    pods=lists(everything(PodStatus, permit=st.timedeltas())),
    evidence=lists(
        everything(
            EvidenceStatus,
            verdict=st.sampled_from(Verdict),
            indexer=st.none() | st.integers(),
            mean=st.none() | st.floats(),
            lower_bound=st.none() | st.floats(),
            threshold=st.none() | st.floats(),
        )
    ),
    quality=st.none()
    | everything(
        QualityStatus,
        counts=st.dictionaries(st.text(max_size=3), st.dictionaries(st.text(max_size=3), st.integers())),
    ),
    fallback=st.none() | everything(FallbackStatus, since=TIMES),
    rejected=lists(everything(Rejected, at=TIMES)),
    history=lists(
        everything(HistoryEntry, outcome=st.sampled_from(["Promoted", "FellBack", "Superseded"]), at=TIMES)
    ),
    conditions=lists(everything(Condition, status=st.sampled_from(["True", "False", "Unknown"]))),
)


@settings(suppress_health_check=list(HealthCheck), max_examples=20)
@given(STATUSES)
@example(Status(message=LONG))
@example(Status(epoch=2**70, requests_seen=-(2**70)))
@example(
    Status(
        evidence=(
            EvidenceStatus(
                guardrail="g", verdict=Verdict.HOLDING, alpha=math.nan, mean=math.nan, e_value=math.inf
            ),
        )
    )
)
@example(Status(quality=QualityStatus(revision="r", drop_sum=math.nan)))
@example(Status(pods=tuple(PodStatus(name=f"p{i}", reason=LONG) for i in range(MANY))))
@example(Status(rejected=(Rejected(revision="r", reason="c", message=LONG, at=NOW),) * MANY))
def test_whatever_a_status_holds_what_is_written_passes_the_crd(held: Status) -> None:
    once = stored.read(written(held))
    assert stored.read(written(once)) == once, "what was cut is cut again"


def test_what_is_cut_says_so_and_keeps_its_beginning() -> None:
    cut = written(Status(message="x" * 9000))["message"]
    assert len(cut) == 4096
    assert cut.startswith("xxx")
    assert cut.endswith("... (9000 characters in all)")
    assert written(Status(message="x" * 4096))["message"] == "x" * 4096


def test_a_list_keeps_its_newest() -> None:
    rejected = tuple(Rejected(revision=str(i), reason="c", at=NOW) for i in range(MANY))
    kept = written(Status(rejected=rejected))["rejected"]
    assert [entry["revision"] for entry in kept] == [str(i) for i in range(MANY - 1024, MANY)]


def test_a_number_that_json_lacks_is_left_out_or_nought_where_one_is_required() -> None:
    row = EvidenceStatus(
        guardrail="g",
        verdict=Verdict.HOLDING,
        alpha=math.nan,
        mean=math.nan,
        threshold=-math.inf,
        e_value=math.inf,
    )
    (out,) = written(Status(evidence=(row,)))["evidence"]
    assert "mean" not in out
    assert out["alpha"] == 0.0
    assert (out["threshold"], out["eValue"]) == (-1.7976931348623157e308, 1.7976931348623157e308)


def test_a_users_backends_are_written_whole() -> None:
    backends = ({"name": "n" * 9000, "weight": 5, "filters": [{"x": [1.5, "y" * 9000]}]},)
    assert (
        tuple(
            written(Status(route=RouteStatus(name="r", rule="g", original_backends=backends)))["route"][
                "originalBackends"
            ]
        )
        == backends
    )


@pytest.mark.parametrize("words", ["short", "not scheduled: 0/999 nodes are available: " + "x" * 3000])
def test_a_thousand_pods_fit_and_none_loses_its_name_or_its_epoch(words: str) -> None:
    pods = tuple(
        PodStatus(
            name=f"{'n' * 60}-{i:04}",
            state="unreachable",
            epoch=7,
            desired="on-canary-0123abcd",
            confirmed="0" * 16,
            reason=words,
        )
        for i in range(1000)
    )
    held = Status(pods=pods, canary_pods=tuple(p.name for p in pods), message="; ".join(words for _ in pods))
    out = written(held)
    assert [(p["name"], p["epoch"], p["desired"]) for p in out["pods"]] == [
        (p.name, 7, p.desired) for p in pods
    ]
    assert out["canaryPods"] == [p.name for p in pods]


@pytest.mark.parametrize("number", [16, 1000])
def test_the_plan_for_pods_that_nothing_can_place_is_written(number: int) -> None:
    words = "not scheduled: 0/64 nodes are available: " + "; ".join(
        f"{i} node(s) had untolerated taint" for i in range(20)
    )
    pods = [
        pod(f"chat-{i}", None, ready=False, problem=words, error="the pod does not run yet")
        for i in range(number)
    ]
    seen = observation(*pods, status=status(Phase.CHECKING))
    held = plan(seen).status
    assert len(held.message) > 4096
    out = written(held)
    assert len(out["pods"]) == number


def test_what_is_cut_by_is_the_schema_of_the_crd() -> None:
    fresh = structural(Status)
    assert fresh.keys() <= CRD.keys()
    assert {name: node["type"] for name, node in fresh["properties"].items()} == {
        name: node["type"] for name, node in CRD["properties"].items()
    }


def test_a_status_that_fits_is_written_as_it_is() -> None:
    held = status(Phase.CANARY, message="m", pods=[{"name": "a", "permitSeconds": 2.5}], epoch=2**62)
    raw = stored._STATUS.dump_python(held, mode="json", by_alias=True, exclude_none=True)
    assert stored.dump(held) == raw

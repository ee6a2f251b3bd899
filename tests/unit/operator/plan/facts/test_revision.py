"""Tests what is tried, by name, and whether it may be tried again."""

from dataclasses import replace
from typing import Any

import pytest
from indexcache_operator.api.status import FallbackStatus, Rejected
from indexcache_operator.plan.facts import revision

from tests.unit.operator.plan.build import at, hold, snapshot, spec, status

ENGINE = {"image": "engine:1", "model": "/model"}
REJECTED = Rejected(revision="abc", reason="x", at=at(-60), retried="")


def test_a_revision_is_what_engines_compute_with() -> None:
    base = revision.revision(spec(engine={**ENGINE, "replicas": 3}))
    assert len(base) == 10
    assert int(base, 16) >= 0
    assert (
        revision.revision(spec(engine={**ENGINE, "replicas": 9}, guardrails={"recall": {"min": 0.1}})) == base
    )
    assert revision.revision(spec(engine={**ENGINE, "args": ["--x"]})) != base
    assert revision.revision(spec(indexCache={"pattern": "FSFS", "minContextTokens": 1})) != base


def test_the_name_of_a_revision_is_the_same_in_each_release() -> None:
    """It stands in the status of rollouts: another name would end each of them as superseded."""
    assert revision.revision(spec(engine={**ENGINE, "replicas": 3})) == "f7c5d15e75"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"args": ["--a=b", "--c"]}, {"args": ["--a", "b", "--c"]}),
        ({"args": ["--max-model-len=8"]}, {"args": ["--max_model_len", "8"]}),
        ({"resources": {"limits": {"gpu": 8}}}, {"resources": {"limits": {"gpu": "8"}}}),
        ({"resources": {"limits": {"cpu": 0.5}}}, {"resources": {"limits": {"cpu": "0.5"}}}),
        ({"port": 8000, "args": [], "template": {}}, {}),
        ({"command": ["vllm", "serve"]}, {}),
        ({"command": ["vllm", "serve", "--a=b"]}, {"command": ["vllm", "serve", "--a", "b"]}),
        ({"resources": {"limits": {"cpu": 2.0}}}, {"resources": {"limits": {"cpu": "2"}}}),
    ],
)
def test_what_is_written_in_two_ways_has_one_name(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = (revision.revision(spec(engine={**ENGINE, **changes})) for changes in (one, other))
    assert first == second


@pytest.mark.parametrize(
    "changes",
    [
        {"args": ["--a=b"]},
        {"args": ["--a", "--b"]},
        {"args": ["--", "--a", "b"]},
        {"args": ["--a=c"]},
        {"resources": {"limits": {"gpu": 8}}},
        {"resources": {"limits": {"gpu": True}}},
        {"port": 9000},
        {"template": {"spec": {"hostIPC": True}}},
    ],
)
def test_what_an_engine_would_do_otherwise_has_another_name(changes: dict[str, Any]) -> None:
    names = [revision.revision(spec(engine={**ENGINE, **c})) for c in ({}, changes, {"args": ["--a", "x"]})]
    assert len(set(names)) == 3


def test_each_part_of_the_resources_is_part_of_what_is_tried() -> None:
    asked = [
        {"limits": {"gpu": 8}},
        {"limits": {"gpu": 9}},
        {"limits": {"gpu": True}},
        {"limits": {"gpu": "True"}},
        {"claims": [{"name": "a"}]},
        {"claims": [{"name": "b"}]},
    ]
    names = {revision.revision(spec(engine={**ENGINE, "resources": resources})) for resources in asked}
    assert len(names) == len(asked)


def test_the_plugins_image_is_part_of_what_is_tried_where_it_is_named() -> None:
    base, named = spec(), spec(engine={**ENGINE, "replicas": 3, "runtime": "runtime:2"})
    assert revision.revision(named) != revision.revision(base)
    assert revision.revision(named, pinned="runtime:1") == revision.revision(named)
    assert revision.revision(named, pinned="runtime:2") == revision.revision(base)
    assert revision.revision(base, pinned="runtime:2") == revision.revision(base)
    kept = status(runtime="runtime:2")
    assert snapshot(spec=named, status=kept).wanted_revision == revision.revision(base)


def test_a_name_that_a_released_version_gave_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade whose names differ moves nothing: what runs keeps its name, as does what was rejected."""
    old = revision.revision(spec())
    newer = (lambda wanted: "0123456789", *revision.NAMINGS)
    monkeypatch.setattr(revision, "NAMINGS", newer)
    assert revision.revision(spec(), old) == old
    assert revision.revision(spec(), "") == "0123456789"
    assert revision.revision(spec(), "ffffffffff") == "0123456789"
    rejected = status(revision="ffffffffff", rejected=(replace(REJECTED, revision=old),))
    assert snapshot(status=rejected).wanted_revision == old


@pytest.mark.parametrize(
    ("annotations", "name", "expected"),
    [
        ({}, "abc", False),
        ({revision.KILL: "abc"}, "abc", True),
        ({revision.KILL: "abd"}, "abc", False),
        ({revision.KILL: "true"}, "abc", True),
        ({revision.KILL: " True "}, "abc", True),
        ({revision.KILL: "abc\n"}, "abc", True),
        ({revision.KILL: "true"}, "", False),
        ({revision.KILL: "truely"}, "abc", False),
        ({revision.KILL: ""}, "", False),
    ],
)
def test_a_kill_names_the_revision(annotations: dict[str, str], name: str, expected: bool) -> None:
    assert revision.killed(annotations, name) is expected


def test_the_rejection_of_a_revision_is_found_by_its_name() -> None:
    kept = status(rejected=(replace(REJECTED, revision="other"), REJECTED))
    assert revision.rejection(kept, "abc") == REJECTED
    assert revision.rejection(kept, "none") is None


@pytest.mark.parametrize(
    ("value", "retried", "expected"),
    [
        ("abc", "", True),
        ("abd", "", False),
        (None, "", False),
        ("abc", "abc", False),
        ("abc/2", "abc", True),
        ("abc/2", "abc/2", False),
        ("abc/2/3", "abc/2", True),
    ],
)
def test_each_value_of_the_retry_annotation_works_once(
    value: str | None, retried: str, expected: bool
) -> None:
    annotations = {} if value is None else {revision.RETRY: value}
    assert revision.retry_allowed(annotations, "abc", retried) is expected


def test_the_annotations_are_a_promise_to_users() -> None:
    assert (revision.KILL, revision.RETRY) == ("indexcache.dev/kill", "indexcache.dev/retry")


@pytest.mark.parametrize(
    ("retried", "expected"),
    [
        ("", "abc"),
        ("abc", "abc/2"),
        ("abc/2", "abc/3"),
        ("abc/9", "abc/10"),
        ("abc/x", "abc/2"),
        ("abd", "abc/2"),
        ("abc/2/3", "abc/2"),
        ("abc/" + "9" * 9, "abc/1000000000"),
        ("abc/" + "9" * 10, "abc/2"),
        ("abc/" + "9" * 5000, "abc/2"),
    ],
)
def test_the_next_retry_has_a_name_that_was_not_used(retried: str, expected: str) -> None:
    assert revision.next_retry(retried, "abc") == expected


def test_a_retry_is_used_up_by_whatever_ended_the_try() -> None:
    ended = FallbackStatus(cause="Killed", since=at(0), revision="abc", retried="abc")
    kept = status(revision="abc", rejected=(replace(REJECTED, retried="abc/7"),), fallback=ended)
    assert revision.used_retry(kept, "abc") == "abc/7"
    assert revision.used_retry(replace(kept, rejected=()), "abc") == "abc"
    assert revision.used_retry(replace(kept, rejected=()), "other") == ""
    assert revision.used_retry(replace(kept, rejected=(), fallback=None, hold=None), "abc") == ""
    held = replace(kept, rejected=(), hold=hold(retried="abc/3"))
    for fallback in (None, replace(ended, revision="other")):
        assert revision.used_retry(replace(held, fallback=fallback), "abc") == "abc/3"

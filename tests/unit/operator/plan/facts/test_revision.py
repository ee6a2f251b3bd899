"""What is tried, by name, and whether it may be tried again."""

from dataclasses import replace

import pytest
from indexcache_operator.api.status import Rejected
from indexcache_operator.plan.facts import revision

from tests.unit.operator.plan.build import at, spec, status

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
    assert revision.revision(spec(engine={**ENGINE, "replicas": 3})) == "d9f2abe355"


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
    assert revision.retry_allowed(annotations, replace(REJECTED, retried=retried)) is expected


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
        ("abc/" + "9" * 5000, "abc/2"),
    ],
)
def test_the_next_retry_has_a_name_that_was_not_used(retried: str, expected: str) -> None:
    assert revision.next_retry(replace(REJECTED, retried=retried), "abc") == expected
    assert revision.next_retry(None, "abc") == "abc"

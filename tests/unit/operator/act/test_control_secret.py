"""Tests when the Secret of a token is tried, and what it is."""

import pytest
from indexcache_operator import names
from indexcache_operator.act.control_secret import AGAIN_SECONDS, ControlSecret, body, may_wait
from indexcache_operator.model import EnginePod

from tests.credentials import control
from tests.unit.operator.plan.build import pod

MINE = control("n", "r")


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_goes_with_the_deployment_and_never_changes() -> None:
    made = body("r", MINE, "d")
    assert made["metadata"]["name"] == MINE.secret
    assert [(o["kind"], o["name"], o["uid"]) for o in made["metadata"]["ownerReferences"]] == [
        ("Deployment", "r", "d")
    ]
    assert made["immutable"]
    assert made["stringData"] == {names.TOKEN_KEY: MINE.token}


def test_it_is_tried_once_for_each_deployment_and_each_token() -> None:
    secret = ControlSecret(clock=Clock(), _tried=("d", MINE.secret, 0.0))
    assert not secret.due(MINE, "d", well=True)
    assert secret.due(MINE, "e", well=True)
    assert secret.due(control("n", "r", "other"), "d", well=True)
    assert ControlSecret(clock=Clock()).due(MINE, "d", well=True)


def test_while_an_engine_may_wait_for_it_it_is_tried_again_now_and_then() -> None:
    clock = Clock()
    secret = ControlSecret(clock=clock, _tried=("d", MINE.secret, 0.0))
    assert not secret.due(MINE, "d", well=False)
    clock.now = AGAIN_SECONDS
    assert secret.due(MINE, "d", well=False)
    assert not secret.due(MINE, "d", well=True)


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (pod("a"), False),
        (pod("a", None), True),
        (pod("a", None, silent=True, ready=False), True),
        (pod("a", None, error="401: the engine holds another token"), True),
        (pod("a", None, silent=True), False),
    ],
)
def test_an_engine_that_fell_silent_where_it_serves_has_it(engine: EnginePod, expected: bool) -> None:
    assert may_wait(engine) is expected

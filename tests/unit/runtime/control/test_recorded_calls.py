"""Tests what operators of this contract and the one before tell an engine, as it was recorded."""

import json
from typing import Any

import pytest
from indexcache_core.contract import CONTRACT, Mode, Reason, Refused, State
from indexcache_runtime.control.routes import FLAGS, KILL

from tests.recorded import conversation
from tests.recorded.conversation import call, engine

NUMBERS = [number for number in (CONTRACT - 1, CONTRACT) if number > 0]


@pytest.mark.parametrize("number", NUMBERS)
def test_each_put_is_accepted_and_the_same_again_renews(number: int) -> None:
    control, routes = engine()
    bodies = conversation.said(number, "put")
    assert len(bodies) == 4
    for body in sorted(bodies.values(), key=lambda found: found["epoch"]):
        for _ in range(2):
            answer = call(routes, FLAGS, body)
            assert answer.status == 200, answer
        told = control.state()
        assert (told.epoch, told.mode) == (body["epoch"], Mode(body["flags"]["mode"]))
        assert told.permit_remaining_seconds == body["permit_seconds"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("more", [{}, {"of_the_next": {"contract": 1}}])
def test_a_kill_works_and_says_why_with_fields_of_the_next_contract_too(
    number: int, more: dict[str, Any]
) -> None:
    control, routes = engine()
    asked = json.loads((conversation.folder(number) / "kill.json").read_text())
    for body in conversation.said(number, "put").values():
        call(routes, FLAGS, body)
    killed = State.model_validate_json(call(routes, KILL, {**asked, **more}).body)
    assert (killed.mode, killed.reason, killed.message) == (Mode.TRIPPED, Reason.KILLED, asked["reason"])
    assert control.state() == killed


@pytest.mark.parametrize("place", [(), ("flags",), ("identity",), ("thresholds",), ("breaker",)])
def test_flags_that_are_not_known_are_refused_by_name_and_change_nothing(place: tuple[str, ...]) -> None:
    """A newer operator leaves them out: what they ask for would be believed to be done."""
    control, routes = engine()
    before = call(routes, FLAGS, conversation.said(CONTRACT, "put")["on-canary"])
    body = {**conversation.said(CONTRACT, "put")["on-promoted"]}
    for part in place:
        body[part] = {**body[part], "of_the_next": 1}
    if not place:
        body["of_the_next"] = 1
    answer = call(routes, FLAGS, body)
    refused = Refused.model_validate_json(answer.body)
    assert (answer.status, refused.code) == (422, "Invalid")
    assert refused.field == ".".join((*place, "of_the_next"))
    assert control.state() == State.model_validate_json(before.body)

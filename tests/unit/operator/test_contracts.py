"""Engines of another release: recorded ones, and made up ones of contracts that don't exist yet."""

import json
from typing import Any

import pytest
from indexcache_core.contract import CONTRACT, Desired, InFlight, Mode, State
from indexcache_operator import limits
from indexcache_operator.contracts import ADDED, SPOKEN, Contracts, NotSpoken
from pydantic import BaseModel, ValidationError

from tests.recorded import conversation

SPOKEN_NUMBERS = [number for number in (CONTRACT - 1, CONTRACT) if number > 0]
STATES = [
    pytest.param(number, state, id=f"{number}-{name}")
    for number in SPOKEN_NUMBERS
    for name, state in conversation.said(number, "state").items()
]
LATER = Contracts(
    present=CONTRACT + 1, added={**ADDED, CONTRACT + 1: ("flags.in_flight", "breaker", "identity.uid")}
)
"""A later release, in whose contract these fields are new."""


def known(recorded: Any, read: Any) -> bool:
    """Return whether all that was recorded is in what was read."""
    if isinstance(recorded, dict):
        return all(name in read and known(value, read[name]) for name, value in recorded.items())
    if isinstance(recorded, list):
        return len(recorded) == len(read) and all(map(known, recorded, read))
    return bool(recorded == read)


def more(value: Any) -> Any:
    """Return a state as an engine of the next contract might say it: more fields, wherever there are any."""
    if isinstance(value, dict):
        return {**{name: more(part) for name, part in value.items()}, "of_the_next": {"contract": [1]}}
    return [more(part) for part in value] if isinstance(value, list) else value


def test_each_spoken_contract_was_recorded() -> None:
    for number in SPOKEN_NUMBERS:
        assert set(conversation.said(number, "state")) == set(conversation.states())
        assert set(conversation.said(number, "put")) == set(conversation.puts())


def test_what_travels_is_what_was_recorded() -> None:
    """Whoever changes it raises CONTRACT, says in ADDED what a PUT has gained, and records: `make record`."""
    recorded = json.loads((conversation.folder(CONTRACT) / "fields.json").read_text())
    assert recorded == conversation.travelling()


def test_fields_that_a_contract_added_are_fields() -> None:
    there = set(conversation.fields(Desired))
    assert {path for paths in ADDED.values() for path in paths} <= there
    assert max(ADDED) == CONTRACT


@pytest.mark.parametrize(("number", "recorded"), STATES)
def test_what_engines_say_is_read_whole(number: int, recorded: dict[str, Any]) -> None:
    read = SPOKEN.read(recorded)
    assert read.contract == number
    assert known(recorded, read.model_dump(mode="json"))


def test_an_engine_of_contract_1_is_not_told_how_far_reuse_reaches() -> None:
    """It knows no reach, and would refuse a field that it doesn't know."""
    limited = wanted()
    limited = limited.model_copy(update={"flags": limited.flags.model_copy(update={"reach_tokens": 8192})})
    body = SPOKEN.body(limited, 1)
    assert isinstance(body, dict)
    assert "reach_tokens" not in body["flags"]
    assert SPOKEN.held(limited, 1) == wanted()
    assert SPOKEN.body(limited, 2) == limited


def test_of_an_engine_of_contract_1_no_request_is_known_by_its_work_nor_any_as_recent() -> None:
    """What it counts as an observation is a step of a request, which is none."""
    steps = {name: SPOKEN.read(recorded) for name, recorded in conversation.said(1, "state").items()}
    assert any(read.series for read in steps.values())
    for read in steps.values():
        assert read.observed == ()
        assert not any((*read.requests.recent, *read.requests.recent_decoding))
    requests = [SPOKEN.read(recorded) for recorded in conversation.said(2, "state").values()]
    assert any(read.observed for read in requests)
    assert not any(read.series for read in requests)


@pytest.mark.parametrize(("number", "recorded"), STATES)
def test_of_a_newer_engine_what_is_known_is_read(number: int, recorded: dict[str, Any]) -> None:
    newer = {**more(recorded), "contract": CONTRACT + 1}
    limits.check(newer)
    expected = SPOKEN.read({**recorded, "contract": CONTRACT})
    assert SPOKEN.read(newer) == expected.model_copy(update={"contract": CONTRACT + 1})


@pytest.mark.parametrize(("number", "recorded"), STATES)
def test_of_ones_own_contract_nothing_may_be_unknown(number: int, recorded: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="of_the_next"):
        SPOKEN.read({**more(recorded), "contract": CONTRACT})


def test_what_an_older_engine_does_not_say_has_its_default_and_what_it_says_besides_is_left_out() -> None:
    said = conversation.said(CONTRACT, "state").values()
    (recorded,) = (s for s in said if s["desired"]["mode"] == "shadow")
    older = {name: part for name, part in recorded.items() if name not in ("breaker", "device")}
    older["desired"] = {k: v for k, v in older["desired"].items() if k != "in_flight"} | {"given_up": 3}
    read = LATER.read(older)
    assert (read.contract, read.breaker, read.desired.in_flight) == (
        CONTRACT,
        (),
        InFlight.CONTINUE,
    )
    assert read.desired.mode is Mode.SHADOW


@pytest.mark.parametrize(
    ("found", "remedy"),
    [(CONTRACT + 2, "upgrade the operator"), (CONTRACT - 2, r"spec\.engine\.runtime"), (99, "upgrade")],
)
def test_what_is_too_far_off_is_named_with_what_to_do(found: int, remedy: str) -> None:
    raw = State(supported=True, incarnation="i").model_dump(mode="json")
    with pytest.raises(NotSpoken, match=f"found contract {found}; expected {CONTRACT}, .*{remedy}"):
        SPOKEN.read({**raw, "contract": found})


@pytest.mark.parametrize("raw", [{}, [], None, {"contract": "x"}, {"contract": 1.5}, {"contract": None}])
def test_what_says_no_contract_is_no_state(raw: object) -> None:
    with pytest.raises(ValidationError):
        SPOKEN.read(raw)


def wanted() -> Desired:
    return Desired.model_validate(conversation.said(CONTRACT, "put")["on-canary"])


def test_an_engine_is_told_what_its_contract_knows() -> None:
    assert SPOKEN.body(wanted(), CONTRACT) == wanted()
    assert LATER.body(wanted(), CONTRACT + 1) == wanted()
    assert LATER.body(wanted(), CONTRACT + 2) == wanted()
    older = LATER.body(wanted(), CONTRACT)
    assert isinstance(older, dict)
    assert set(wanted().model_dump()) - set(older) == {"breaker"}
    assert set(wanted().flags.model_dump()) - set(older["flags"]) == {"in_flight"}
    assert set(wanted().identity.model_dump()) - set(older["identity"]) == {"uid"}


def test_what_an_older_engine_holds_of_it_is_what_it_was_told() -> None:
    held = LATER.held(wanted(), CONTRACT)
    assert wanted().flags.in_flight is InFlight.RECOMPUTE
    assert (held.flags.in_flight, held.breaker, held.identity.uid) == (InFlight.CONTINUE, None, "")
    assert held.flags.pattern == wanted().flags.pattern
    assert LATER.held(wanted(), CONTRACT + 1) == wanted()


def test_nothing_is_left_out_of_what_is_not_there() -> None:
    deeper = Contracts(present=CONTRACT + 1, added={CONTRACT + 1: ("breaker.alpha",)})
    without = wanted().model_copy(update={"breaker": None})
    assert deeper.body(without, CONTRACT) == without.model_dump(mode="json")


@pytest.mark.parametrize("number", SPOKEN_NUMBERS)
def test_what_operators_told_engines_can_still_be_said(number: int) -> None:
    for kind, body in conversation.said(number, "put").items():
        said = SPOKEN.body(Desired.model_validate(body), number)
        assert (said.model_dump(mode="json") if isinstance(said, BaseModel) else said) == body, kind

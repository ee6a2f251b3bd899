"""Tests how the engines of a rollout are asked, and what is said of those that give no state."""

from typing import Any

import pytest
from indexcache_core.contract import State
from indexcache_operator.engines import EngineError, Silent, Told
from indexcache_operator.objects import Object
from indexcache_operator.observe import asking
from indexcache_operator.observe.asking import NOT_RUNNING, Answer

from tests.credentials import control

STATE = State(supported=True, incarnation="life")
GUARDS = {ip: control("ns", "chat") for ip in ("1.1.1.1", "1.1.1.2")}


class Engines:
    """Engines that answer as they are told, and note what they were asked."""

    def __init__(self, said: dict[str, Told | EngineError]) -> None:
        self.said, self.asked = said, list[tuple[str, str]]()

    async def ask(self, ip: str, known: str = "") -> Told:
        self.asked.append((ip, known))
        found = self.said[ip]
        if isinstance(found, EngineError):
            raise found
        return found


def pod(ip: str | None, phase: str = "Running") -> Object:
    return {"metadata": {"name": f"pod-{ip}"}, "status": {"phase": phase, "podIP": ip}}


def engines(**said: Told | EngineError) -> Any:
    return Engines({f"1.1.1.{name[1:]}": found for name, found in said.items()})


async def test_each_that_runs_is_asked_and_why_the_others_say_nothing() -> None:
    found = engines(_1=Told(state=STATE, tag='"life-1"'), _2=Silent("silent"))
    pods = [pod("1.1.1.2"), pod(None), pod("1.1.1.1"), pod("1.1.1.1", "Pending")]
    answers = await asking.ask(found, GUARDS, pods, {})
    assert answers == [
        Answer(error="silent", silent=True),
        NOT_RUNNING,
        Answer(state=STATE, tag='"life-1"'),
        NOT_RUNNING,
    ]
    assert not any(answer.is_as_before for answer in answers)


async def test_a_state_of_just_now_is_not_asked_for_again_and_who_gave_none_is() -> None:
    found = engines(_1=Told(state=STATE, tag='"life-1"'), _2=EngineError("silent twice"))
    known = {
        "1.1.1.1": Answer(tag='"life-1"'),
        "1.1.1.2": Answer(error="silent"),
        "1.1.1.3": Answer(state=STATE, tag='"life-3"'),
    }
    answers = await asking.ask(found, GUARDS, [pod(ip) for ip in known], known)
    assert answers == [
        Answer(state=STATE, tag='"life-1"'),
        Answer(error="silent twice"),
        known["1.1.1.3"],
    ]
    assert found.asked == [("1.1.1.1", ""), ("1.1.1.2", "")]


@pytest.mark.parametrize("tag", ["", '"life-1"'])
async def test_another_token_is_told_with_the_secret_to_delete(tag: str) -> None:
    answer = await asking.again(engines(_1=EngineError("no", "Unauthorized")), GUARDS, "1.1.1.1", tag)
    assert answer.error is not None
    assert GUARDS["1.1.1.1"].secret in answer.error
    assert not answer.is_as_before


async def test_a_refusal_is_no_silence() -> None:
    answer = await asking.again(engines(_1=EngineError("409 OldEpoch")), GUARDS, "1.1.1.1")
    assert answer == Answer(error="409 OldEpoch")


async def test_as_before_is_neither_a_state_nor_an_error() -> None:
    answer = await asking.again(engines(_1=Told(state=None, tag="t")), GUARDS, "1.1.1.1", "t")
    assert answer.is_as_before

"""A new leader's first look at a rollout: as it is, whatever its watch told last."""

import copy
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from indexcache_operator.informers.reads import NotCurrent
from indexcache_operator.observe.hugging_face import HuggingFace
from indexcache_operator.observe.look import Observer, Sight

from tests.credentials import CREDENTIALS
from tests.recorded import rollouts
from tests.unit.operator.plan.world_parts import NAME
from tests.unit.operator.test_recorded_rollouts import RecordedApi, rollout


class Told(RecordedApi):
    """Informers that have a rollout as it was, and aren't current."""

    def told(self, path: str) -> Any:
        raise NotCurrent(path)

    def all_told(self, path: str, selector: Any) -> Any:
        raise NotCurrent(path)


async def test_what_is_at_rest_by_a_watch_is_read_anew_once_in_each_term(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = rollouts.recorded("0.1.0")["fellback-rejected"]
    now = copy.deepcopy(told)
    rollout(now)["status"]["message"] = "as it is"

    class Engines:
        def __init__(self, **_: Any) -> None:
            """Take any token."""

        async def ask(self, ip: str, known: str = "") -> Any:
            raise AssertionError(f"{ip}: nobody is here")

    for record in (told, now):
        record["pods"] = []
        assert datetime.fromisoformat(record["now"])
    monkeypatch.setattr("indexcache_operator.observe.look.Engines", Engines)
    async with aiohttp.ClientSession() as session:
        observer = Observer(
            kube=RecordedApi(now),
            session=session,
            runtime=rollouts.RUNTIME,
            credentials=CREDENTIALS,
            hugging_face=HuggingFace(session, None),
            informed=Told(told),
        )
        sight, seen = Sight(), []
        for term in (0, 3, 3, 7, 7):
            found = await observer.look(rollouts.NAMESPACE, NAME, sight, term=term)
            assert found is not None
            seen.append(found.observation.status.message == "as it is")
            assert found.observation.term == term
    assert seen == [False, True, False, True, False]

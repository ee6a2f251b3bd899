"""Tests how the benchmark at size counts, and that its stand-ins are engines."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from indexcache_core.contract import Desired, Flags, Mode, State
from indexcache_runtime.control.routes import FLAGS, STATE, Call

from benchmarks import render, scale_process
from benchmarks.scale_engines import PATTERN, Engine
from benchmarks.scale_world import Made, address

SINCE, UNTIL = (datetime(2026, 1, 1, 0, minute, tzinfo=UTC) for minute in (1, 2))


def event(verb: str, at: str, stage: str = "ResponseComplete", uri: str = "/api/v1/pods") -> str:
    return json.dumps(
        {
            "verb": verb,
            "stage": stage,
            "requestURI": uri,
            "requestReceivedTimestamp": f"2026-01-01T00:{at}.000000Z",
        }
    )


def test_requests_are_counted_by_what_they_do(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    audit.write_text(
        "\n".join(
            [
                event("get", "00:59"),
                event("get", "01:00"),
                event("list", "01:30"),
                event("update", "01:30"),
                event("patch", "01:40", uri="/x?dryRun=All"),
                event("watch", "01:20", "ResponseStarted"),
                event("watch", "01:20"),  # the same, as it ended
                event("create", "02:00"),
            ]
        )
    )
    found = scale_process.asked(audit, SINCE, UNTIL)
    assert found == Counter({"get": 1, "list": 1, "update": 1, "dry-run": 1, "watch": 1})
    assert (scale_process.writes(found), scale_process.reads(found)) == (1, 3)


def test_every_engine_has_an_address_of_its_own() -> None:
    addresses = [address(number) for number in range(200_000)]
    assert len(set(addresses)) == len(addresses)
    assert all(all(0 <= int(part) <= 255 for part in found.split(".")) for found in addresses)
    assert all(found.startswith("127.") for found in addresses)


def test_engines_of_one_rollout_share_its_token() -> None:
    first, second = Made("ns", "a", "u", ("127.0.0.1", "127.0.0.2")).engines
    assert first["token"] == second["token"]
    assert first["token"] != Made("ns", "b", "u", ("127.0.0.3",)).engines[0]["token"]


def test_a_stand_in_measures_once_it_is_on_and_notes_its_kill(tmp_path: Path) -> None:
    counts = Counter[str]()
    with (tmp_path / "kills").open("w") as kills:
        engine = Engine("127.0.0.1", "t", kills, counts, 40)
        wanted = Desired(
            incarnation=engine.control.incarnation,
            epoch=1,
            flags=Flags(mode=Mode.ON, pattern=PATTERN),
            permit_seconds=60,
        )
        assert engine.answer(Call(*FLAGS), wanted.model_dump_json().encode()).status == 200
        state = State.model_validate_json(engine.answer(Call(*STATE), b"").body)
        assert state.requests.admitted_reuse == 40
        assert {series.recall.count for series in state.observed} == {40}
        engine.kill()
    assert (tmp_path / "kills").read_text().startswith("127.0.0.1 ")
    assert counts == Counter({"PUT 200": 1, "GET 200": 1})


def row(name: str, value: float, unit: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "samples": [1.0, 2.0], **more}


@pytest.mark.parametrize("name", list(render.SCALE))
def test_the_table_has_each_figure(name: str) -> None:
    rows = [row(each, 0.125, "in 600 s, 7 rollouts, 3 engines each", median=0.25) for each in render.SCALE]
    table = render.scale({"rows": rows, "hardware": "h", "commit": "c"})
    what, aim = render.SCALE[name]
    assert f"| {what} | 0.125 | {aim} |" in table
    assert "| 7 rollouts, 3 engines each | measured | aim |" in table
    assert "Watched for 600 s; 2 kills, median 0.25 s." in table

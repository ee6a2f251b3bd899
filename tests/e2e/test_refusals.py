"""Bad input, to engines, operator and gateway: refused by name, and everything goes on."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from indexcache_core.contract import CONTROL_PORT, MAX_BODY, Desired, Flags, Mode
from indexcache_testbed.model.questions import ask
from indexcache_testbed.scenario import install, kubectl
from indexcache_testbed.scenario.alerting import prometheus
from indexcache_testbed.scenario.stage import Stage

from tests.e2e.support import Engines, Object

MEMORY = 120e6
"""Bytes that the operator may hold."""


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/state"), ("PUT", "/v1/flags"), ("POST", "/v1/kill")]
)
async def test_users_cannot_reach_control(method: str, path: str, installed: str, engines: Engines) -> None:
    headers = {"Authorization": f"Bearer {await engines.token()}"}
    async with engines.session.request(method, f"{installed}{path}", data=b"{}", headers=headers) as answer:
        assert answer.status == 404


@dataclass(frozen=True)
class Bad:
    """A call that an engine refuses."""

    status: int
    code: str
    field: str
    body: Callable[[Desired], bytes]
    token: str | None = None


BAD = {
    "without a token": Bad(401, "Unauthorized", "token", lambda d: d.model_dump_json().encode(), token=""),
    "a wrong token": Bad(401, "Unauthorized", "token", lambda d: d.model_dump_json().encode(), token="wrong"),
    "an old epoch": Bad(
        409, "OldEpoch", "epoch", lambda d: d.model_copy(update={"epoch": 1}).model_dump_json().encode()
    ),
    "another incarnation": Bad(
        409,
        "OtherIncarnation",
        "incarnation",
        lambda d: d.model_copy(update={"incarnation": "0"}).model_dump_json().encode(),
    ),
    "10 MB": Bad(413, "TooLarge", "body", lambda d: b" " * 10_000_000),
    "a pattern of another length": Bad(422, "DoesNotFit", "pattern", lambda d: _with_pattern(d, "FSS")),
    "a pattern of other letters": Bad(
        422, "Invalid", "flags.pattern", lambda d: json.dumps(_patterned(d, "FXS")).encode()
    ),
    "half a body": Bad(422, "Invalid", "body", lambda d: d.model_dump_json().encode()[:40]),
}


@pytest.mark.parametrize("case", BAD)
async def test_an_engine_refuses_by_name_and_goes_on(case: str, engines: Engines) -> None:
    bad, (pod, ip) = BAD[case], next(iter((await engines.pods()).items()))
    before = await engines.state(ip)
    if before.epoch < 2:  # an older epoch than the present one must exist
        before = await engines.put(ip, Flags())
        before = await engines.put(ip, Flags())
    wanted = Desired(
        incarnation=before.incarnation,
        epoch=before.epoch + 1,
        flags=Flags(mode=Mode.SHADOW, pattern="FSFSFSFS"),
    )
    assert len(bad.body(wanted)) > MAX_BODY or case != "10 MB"
    status, text = await engines.call("PUT", ip, "/v1/flags", bad.body(wanted), bad.token)
    refused = json.loads(text)
    assert (status, refused["code"]) == (bad.status, bad.code), text
    assert refused["field"].endswith(bad.field), text
    assert refused["message"]
    after = await engines.state(ip)
    assert (after.incarnation, after.epoch, after.mode, after.desired) == (
        before.incarnation,
        before.epoch,
        before.mode,
        before.desired,
    )
    question = ask(16, seed=77, index=0)
    answer = await engines.complete(ip, question.prompt, tokens=1)
    assert question.right(answer.tokens[0]), pod


async def test_control_refuses_a_stranger_before_anything_else(engines: Engines) -> None:
    for ip in (await engines.pods()).values():
        async with engines.session.get(f"http://{ip}:{CONTROL_PORT}/anything") as answer:
            assert answer.status == 401
            assert (await answer.json())["code"] == "Unauthorized"


async def test_the_operator_refuses_what_the_api_server_cannot_by_field(stage: Stage, installed: str) -> None:
    stage.begin()
    await kubectl.apply(short_probes())
    for field, found, change in (
        (
            "spec.traffic.httpRoute.rule",
            "nothing",
            _set("traffic", {"httpRoute": {"name": install.ROUTE, "rule": "nothing"}}),
        ),
        ("spec.guardrails.quality.probes", "2 probes of 40 to 40 tokens", _short),
        (
            "spec.engine.args",
            "--pipeline-parallel-size: found 2",
            lambda r: r["spec"]["engine"]["args"].append("--pipeline-parallel-size=2"),
        ),
        (
            "spec.indexCache.pattern",
            "7 letters, the model has 8 indexers",
            _set("indexCache", {"pattern": "FFSFFSS"}),
        ),
    ):
        await stage.apply("demo-good", change)
        await stage.witness.until_phase("Failed", within=60)
        message = stage.witness.now.status["message"]
        assert field in message
        assert found in message
        stalled = next(c for c in stage.witness.now.status["conditions"] if c["type"] == "Stalled")
        assert (stalled["status"], stalled["message"]) == ("True", message)
    # It is unharmed, and so are the engines: the next spec that can work is tried.
    await stage.apply("demo-good")
    await stage.witness.until_phase("Shadowing", within=60)
    await kubectl.kubectl("-n", install.NAMESPACE, "delete", "configmap", "short-probes")
    assert not [a for a in stage.load.since(stage.started) if a.failed]


async def test_the_operator_stays_small(engines: Engines) -> None:
    """The most that it held since the tests began, all its pods together taken one by one."""
    query = 'max_over_time(process_resident_memory_bytes{job="operator"}[15m])'
    series = (await prometheus(engines.session, "query", query=query))["result"]
    assert series
    assert max(float(s["value"][1]) for s in series) <= MEMORY


def _patterned(desired: Desired, pattern: str) -> Object:
    whole: Object = desired.model_dump(mode="json")
    return {**whole, "flags": {**whole["flags"], "pattern": pattern}}


def _with_pattern(desired: Desired, pattern: str) -> bytes:
    return json.dumps(_patterned(desired, pattern)).encode()


def _set(key: str, value: Object) -> Callable[[Object], None]:
    def change(rollout: Object) -> None:
        rollout["spec"][key] = value

    return change


def _short(rollout: Object) -> None:
    rollout["spec"]["guardrails"]["quality"]["probes"]["configMap"] = "short-probes"


def short_probes() -> Object:
    """Return probes that no pattern can fail: shorter than the model's k."""
    line = json.dumps(
        {"prompt": ask(16, seed=78, index=0, history=0).prompt, "continuation": "s1", "contextTokens": 40}
    )
    metadata = {"name": "short-probes", "namespace": install.NAMESPACE}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"probes.jsonl": f"{line}\n{line}\n"},
    }

"""Paired probes against HTTP servers that answer as vLLM and the control port do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from indexcache_core.contract import Mode, State, is_probe
from indexcache_operator.engines import Engines
from indexcache_operator.model import Probe, RunProbes
from indexcache_operator.observe.completions import Completions, ProbeError, Tokens, mean_logprob
from indexcache_operator.observe.prober import Prober, ask

TOKEN = "secret"
PROBE = Probe(prompt="a b c", continuation="d e", context_tokens=300)
RUN = RunProbes(revision="r1", baseline_pod="b", canary_pod="c", probes=(PROBE, PROBE))


@dataclass
class Pods:
    """Two pods behind one pair of servers: the address tells which."""

    modes: dict[str, list[Mode]]
    """For each address the modes that its state shows, the last one for ever."""
    logprobs: dict[str, float]
    requests: list[web.Request] = field(default_factory=list)

    async def state(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        modes = self.modes[request.host.split(":")[0]]
        mode = modes.pop(0) if len(modes) > 1 else modes[0]
        return web.Response(text=State(supported=True, incarnation="i", mode=mode).model_dump_json())

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "tiny"}]})

    async def tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        words = [ord(word) for word in body["prompt"].split()]
        return web.json_response({"tokens": [1, *words] if body["add_special_tokens"] else words})

    async def complete(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        body = await request.json()
        value = self.logprobs[request.host.split(":")[0]]
        entries = [None, *({str(t): {"logprob": value}} for t in body["prompt"][1:])]
        return web.json_response({"choices": [{"text": "x", "prompt_logprobs": entries}]})


BASELINE, CANARY = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def pods() -> Pods:
    return Pods(modes={BASELINE: [Mode.SHADOW], CANARY: [Mode.ON]}, logprobs={BASELINE: -0.5, CANARY: -0.75})


@pytest.fixture
async def edges(pods: Pods) -> AsyncIterator[tuple[Engines, Completions]]:
    control, users = web.Application(), web.Application()
    control.add_routes([web.get("/v1/state", pods.state)])
    users.add_routes([web.get("/v1/models", pods.models), web.post("/tokenize", pods.tokenize), web.post("/v1/completions", pods.complete)])
    async with AsyncExitStack() as stack:
        ports = []
        for app in (control, users):
            server = await stack.enter_async_context(TestServer(app, host="0.0.0.0"))
            assert server.port is not None
            ports.append(server.port)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Engines(session=session, token=TOKEN, port=ports[0]), Completions(session=session, port=ports[1], token=TOKEN)


async def test_asks_both_pods_the_same_tokens_as_a_probe(pods: Pods, edges: tuple[Engines, Completions]) -> None:
    result = await ask(RUN, PROBE, *edges, BASELINE, CANARY)
    assert (result.baseline_logprob, result.canary_logprob, result.incarnation, result.context_tokens) == (-0.5, -0.75, "i", 4)
    bodies = [await request.json() for request in pods.requests]
    assert bodies[0] == bodies[1]
    assert bodies[0]["prompt"] == [1, *map(ord, "abcde")]
    assert all(is_probe(request.headers["X-Request-Id"], TOKEN) for request in pods.requests)
    assert not is_probe(pods.requests[0].headers["X-Request-Id"], "another token")


@pytest.mark.parametrize(
    ("pod", "modes"),
    [(CANARY, [Mode.ON, Mode.TRIPPED]), (CANARY, [Mode.OFF, Mode.ON]), (BASELINE, [Mode.SHADOW, Mode.ON])],
)
async def test_a_pair_across_a_flip_does_not_count(pods: Pods, edges: tuple[Engines, Completions], pod: str, modes: list[Mode]) -> None:
    pods.modes[pod] = modes
    with pytest.raises(ProbeError, match="in mode"):
        await ask(RUN, PROBE, *edges, BASELINE, CANARY)


async def test_results_come_in_the_background_and_are_handed_over_once(edges: tuple[Engines, Completions]) -> None:
    ready = asyncio.Event()
    prober = Prober("n/r", ready.set)
    prober.start(RUN, engines=edges[0], completions=edges[1], baseline_ip=BASELINE, canary_ip=CANARY)
    taken: list[Any] = []
    async with asyncio.timeout(60):
        while len(taken) < 2:
            await ready.wait()
            ready.clear()
            taken += prober.take()
    assert prober.take() == ()
    await prober.stop()


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": [{}]},
        {"choices": [{"prompt_logprobs": [None, {"2": {"logprob": -1}}]}]},
        {"choices": [{"prompt_logprobs": [None, {"2": {"logprob": -1}}, {"9": {"logprob": -1}}]}]},
    ],
)
def test_an_answer_without_each_token_is_no_measurement(answer: dict[str, Any]) -> None:
    with pytest.raises(ProbeError, match="prompt_logprobs"):
        mean_logprob(answer, Tokens(prompt=(1, 2), continuation=(3,)))

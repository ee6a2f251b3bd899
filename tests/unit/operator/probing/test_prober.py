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
from indexcache_core.contract import Mode, State
from indexcache_core.probe_ids import is_probe
from indexcache_operator.engines import Engines
from indexcache_operator.model import Probe, RunProbes
from indexcache_operator.probing.completions import Completions, ProbeError, Tokens, split, token_logprob
from indexcache_operator.probing.prober import Prober, ask

TOKEN = "secret"
PROBE = Probe(prompt="a b c", continuation=" d e", context_tokens=300)
RUN = RunProbes(revision="r1", baseline_pod="b", canary_pod="c", probes=(PROBE, PROBE))


@dataclass
class Pods:
    """Plays two pods behind one pair of servers: the address tells which."""

    modes: dict[str, list[Mode]]
    """For each address the modes that its state shows, the last one for ever."""
    logprobs: dict[str, float]
    """Of the token "d" at each address; each letter on is 0.1 less likely."""
    broken: set[str] = field(default_factory=set)
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
        return web.json_response({"tokens": [1, *(ord(word) for word in body["prompt"].split())]})

    async def complete(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        body = await request.json()
        if (host := request.host.split(":")[0]) in self.broken:
            return web.json_response({"choices": []})
        entry = {
            f"token_id:{token}": self.logprobs[host] - 0.1 * (token - ord("d"))
            for token in body["logprob_token_ids"]
        }
        return web.json_response(
            {"choices": [{"text": "x", "logprobs": {"top_logprobs": [{"token_id:7": -0.1} | entry]}}]}
        )


BASELINE, CANARY = HOSTS = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def pods() -> Pods:
    return Pods(modes={BASELINE: [Mode.SHADOW], CANARY: [Mode.ON]}, logprobs={BASELINE: -0.5, CANARY: -0.75})


@pytest.fixture
async def edges(pods: Pods) -> AsyncIterator[tuple[Engines, Completions]]:
    control, users = web.Application(), web.Application()
    control.add_routes([web.get("/v1/state", pods.state)])
    users.add_routes(
        [
            web.get("/v1/models", pods.models),
            web.post("/tokenize", pods.tokenize),
            web.post("/v1/completions", pods.complete),
        ]
    )
    async with AsyncExitStack() as stack:
        ports = []
        for app in (control, users):
            server = await stack.enter_async_context(TestServer(app, host="0.0.0.0"))
            assert server.port is not None
            ports.append(server.port)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield (
            Engines(session=session, tokens=dict.fromkeys(HOSTS, TOKEN), port=ports[0]),
            Completions(session=session, port=ports[1], control_tokens=dict.fromkeys(HOSTS, TOKEN)),
        )


async def test_asks_both_pods_the_same_tokens_as_a_probe(
    pods: Pods, edges: tuple[Engines, Completions]
) -> None:
    result = await ask(RUN, PROBE, *edges, BASELINE, CANARY)
    assert (result.baseline_logprob, result.canary_logprob) == pytest.approx((-0.55, -0.8))
    assert (result.incarnation, result.context_tokens) == ("i", 4)
    bodies = [await request.json() for request in pods.requests]
    asked = [(tuple(body["prompt"]), *body["logprob_token_ids"], body["max_tokens"]) for body in bodies]
    a, b, c, d, e = map(ord, "abcde")
    assert sorted(asked) == sorted([((1, a, b, c), d, 1), ((1, a, b, c, d), e, 1)] * 2)
    salts = {
        host: {
            body["cache_salt"]
            for request, body in zip(pods.requests, bodies, strict=True)
            if host in request.host
        }
        for host in HOSTS
    }
    assert all(len(of_pod) == 1 for of_pod in salts.values())
    assert salts[BASELINE] != salts[CANARY]
    assert all(is_probe(request.headers["X-Request-Id"], TOKEN) for request in pods.requests)
    assert not is_probe(pods.requests[0].headers["X-Request-Id"], "another token")


@pytest.mark.parametrize(
    ("pod", "modes"),
    [(CANARY, [Mode.ON, Mode.TRIPPED]), (CANARY, [Mode.OFF, Mode.ON]), (BASELINE, [Mode.SHADOW, Mode.ON])],
)
async def test_a_pair_across_a_flip_does_not_count(
    pods: Pods, edges: tuple[Engines, Completions], pod: str, modes: list[Mode]
) -> None:
    pods.modes[pod] = modes
    with pytest.raises(ProbeError, match="in mode"):
        await ask(RUN, PROBE, *edges, BASELINE, CANARY)


async def test_results_come_in_the_background_and_are_handed_over_once(
    edges: tuple[Engines, Completions],
) -> None:
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


async def test_no_two_probes_share_a_salt(pods: Pods, edges: tuple[Engines, Completions]) -> None:
    for _ in range(2):
        await ask(RUN, PROBE, *edges, BASELINE, CANARY)
    assert len({(await request.json())["cache_salt"] for request in pods.requests}) == 4


async def test_an_answer_of_one_pod_alone_is_no_pair(pods: Pods, edges: tuple[Engines, Completions]) -> None:
    pods.broken.add(CANARY)
    with pytest.raises(ProbeError, match="top_logprobs"):
        await ask(RUN, PROBE, *edges, BASELINE, CANARY)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": [{"logprobs": None}]},
        {"choices": [{"logprobs": {"top_logprobs": []}}]},
        {"choices": [{"logprobs": {"top_logprobs": [{"token_id:2": -1.0}]}}]},
        {"choices": [{"logprobs": {"top_logprobs": [{"token_id:3": 1.5}]}}]},
        {"choices": [{"logprobs": {"top_logprobs": [{"token_id:3": float("nan")}]}}]},
    ],
)
def test_an_answer_without_the_tokens_logprob_is_no_measurement(answer: dict[str, Any]) -> None:
    with pytest.raises(ProbeError, match="top_logprobs"):
        token_logprob(answer, 3)


def test_the_continuation_is_what_the_whole_adds_to_the_prompt() -> None:
    assert split(PROBE, (1, 2), (1, 2, 3, 4)) == Tokens(prompt=(1, 2), continuation=(3, 4))


@pytest.mark.parametrize(
    ("prompt", "whole", "words"),
    [
        ((1, 2), (1, 5), "not the first"),
        ((1, 2, 3), (1, 2), "not the first"),
        ((), (1, 2), "not the first"),
        ((1, 2), (1, 2), "of 0 tokens"),
        ((1, 2), (1, 2, *range(9)), "of 9 tokens; expected 1 to 8"),
    ],
)
def test_a_probe_that_tokens_do_not_divide_is_named(
    prompt: tuple[int, ...], whole: tuple[int, ...], words: str
) -> None:
    with pytest.raises(ProbeError, match=rf"^probe 'a b c' \+ ' d e': .*{words}"):
        split(PROBE, prompt, whole)

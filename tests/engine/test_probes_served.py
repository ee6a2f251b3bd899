"""The operator's probes against a real engine, and an engine that has neither VLLM_PLUGINS nor a compiler.

The model has learned its task, so a pattern that is bad for it costs log-probability, and KV of the baseline,
reread, hides that.
"""

import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from statistics import fmean as mean

import aiohttp
import pytest
from indexcache_core.contract import Mode
from indexcache_core.probe_ids import Side
from indexcache_operator.engines import Engines
from indexcache_operator.model import Probe, RunProbes, Uncounted
from indexcache_operator.probing.completions import Completions, ProbeError, Tokens
from indexcache_operator.probing.pair import ask
from indexcache_testbed.model import questions

from tests.engine.served import ROOT, TOKEN, WHO, Server, serving, until

pytestmark = pytest.mark.engine

HARMFUL = {"pattern": "FFSSFFSS", "sample_rows": 64}
HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("probes")
    programs = folder / "bin"
    programs.mkdir()
    lscpu = shutil.which("lscpu")
    assert lscpu
    (programs / "lscpu").symlink_to(lscpu)  # vLLM's CPU platform runs it
    args = ["--tokenizer-mode", "hf", "--distributed-executor-backend", "uni"]
    with serving(
        folder, ROOT / "testbed/models/tiny_dsa", args, {"PATH": str(programs), "CXX": "no-such-compiler"}
    ) as server:
        yield server


@pytest.fixture
async def completions(server: Server) -> AsyncIterator[Completions]:
    async with aiohttp.ClientSession() as session:
        yield Completions(session=session, port=server.users.base_url.port or 0, control_tokens={HOST: TOKEN})


async def likely(completions: Completions, tokens: Tokens, side: Side = Side.REUSE) -> float:
    """Return the log-probability on one side of a pair."""
    return await completions.logprob(HOST, "m", tokens, side, secrets.token_hex(8))


def probe(index: int, tokens: int = 1) -> Probe:
    """Return a question about a table of 256 pairs; a second token of the answer begins the next question."""
    asked = questions.ask(256, seed=31, index=index).probe()
    return Probe(
        prompt=asked.prompt,
        continuation=asked.continuation + " <ask>" * (tokens - 1),
        context_tokens=asked.tokens,
    )


def expected(server: Server, tokens: Tokens) -> float:
    """Return the same from `prompt_logprobs`, which reads nothing from the prefix cache."""
    body = {
        "model": "m",
        "prompt": [*tokens.prompt, *tokens.continuation],
        "max_tokens": 1,
        "temperature": 0,
        "prompt_logprobs": 0,
    }
    entries = (
        server.users.post("/v1/completions", json=body)
        .raise_for_status()
        .json()["choices"][0]["prompt_logprobs"]
    )
    tail = zip(entries[len(tokens.prompt) :], tokens.continuation, strict=True)
    return mean([entry[str(token)]["logprob"] for entry, token in tail])


def reread(server: Server, tokens: Tokens) -> float:
    """Return the first token's log-probability without a salt."""
    body = {"model": "m", "prompt": list(tokens.prompt), "max_tokens": 1, "temperature": 0, "logprobs": 0}
    body |= {"logprob_token_ids": [tokens.continuation[0]], "return_tokens_as_token_ids": True}
    answer = server.users.post("/v1/completions", json=body).raise_for_status().json()
    found: float = answer["choices"][0]["logprobs"]["top_logprobs"][0][f"token_id:{tokens.continuation[0]}"]
    return found


def hits(server: Server) -> float:
    """Return how many tokens were read from the prefix cache so far."""
    text = server.users.get("/metrics").text
    return sum(
        float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith("vllm:prefix_cache_hits_total{")
    )


@pytest.mark.parametrize("count", [1, 2])
async def test_at_the_baseline_it_is_what_prompt_logprobs_say(
    server: Server, completions: Completions, count: int
) -> None:
    tokens = await completions.tokens(HOST, await completions.model(HOST), probe(0, count))
    assert (len(tokens.prompt), len(tokens.continuation)) == (probe(0).context_tokens, count)
    assert await likely(completions, tokens) == pytest.approx(expected(server, tokens), abs=1e-4)


async def test_under_reuse_no_block_of_the_baseline_is_read(server: Server, completions: Completions) -> None:
    """Each prompt was computed at the baseline before and lies in the cache: asked without a salt, it hides
    what the pattern does.
    """
    probes = [await completions.tokens(HOST, "m", probe(i, 2)) for i in range(4)]
    baseline = [await likely(completions, tokens) for tokens in probes]
    for tokens in probes:
        reread(server, tokens)
    assert server.put("on", flags={"mode": "on", **HARMFUL}).mode is Mode.ON
    try:
        found = [await likely(completions, tokens) for tokens in probes]
        assert found == pytest.approx([expected(server, tokens) for tokens in probes], abs=1e-4)
        first = [Tokens(prompt=tokens.prompt, continuation=tokens.continuation[:1]) for tokens in probes]
        salted, hidden = (
            [await likely(completions, tokens) for tokens in first],
            [reread(server, tokens) for tokens in first],
        )
    finally:
        assert server.put("off").mode is Mode.OFF
    assert mean(baseline) - mean(found) > 0.1
    assert mean(hidden) - mean(salted) > 0.1


@pytest.mark.parametrize("mode", ["shadow", "on"])
@pytest.mark.parametrize(("pattern", "harmful"), [("FFSSFFSS", True), ("FFFFFFFF", False)])
async def test_a_pair_on_one_pod_shows_what_a_pattern_does(
    server: Server, completions: Completions, mode: str, pattern: str, harmful: bool
) -> None:
    """Before anybody is exposed, and under reuse. A pattern without Shared indexers changes nothing."""
    server.put(mode, flags={"mode": mode, "pattern": pattern, "sample_rows": 64})
    engines = Engines(
        session=completions.session, tokens={HOST: TOKEN}, port=server.control.base_url.port or 0
    )
    drops, reasons = [], set()
    try:
        for number in range(4):
            asked = probe(number, 2)
            run = RunProbes(revision=WHO["revision"], number=number, pod="p", probe=asked)
            result = await ask(run, engines, completions, HOST)
            reasons.add(result.uncounted)
            assert result.reuse_logprob is not None
            drops.append(result.full_logprob - result.reuse_logprob)
    finally:
        assert server.put("off").mode is Mode.OFF
    assert reasons == ({None} if harmful else {Uncounted.NOT_ALL_REUSED})
    assert (mean(drops) > 0.1) is harmful


async def test_only_the_first_token_prefills_the_prompt(server: Server, completions: Completions) -> None:
    one, two = [await completions.tokens(HOST, "m", probe(9, count)) for count in (1, 2)]
    before = hits(server)
    await likely(completions, one)
    await likely(completions, one)
    assert hits(server) == before
    await likely(completions, two)
    after = hits(server)
    assert len(two.prompt) - 64 < after - before <= len(two.prompt)


async def test_a_continuation_that_changes_the_prompts_last_token_is_refused_by_name(
    completions: Completions,
) -> None:
    wrong = Probe(prompt="<bos> s1 s2", continuation="s3", context_tokens=3)
    with pytest.raises(ProbeError, match=r"'<bos> s1 s2' \+ 's3'"):
        await completions.tokens(HOST, "m", wrong)
    with pytest.raises(ProbeError, match="of 9 tokens; expected 1 to 8"):
        await completions.tokens(
            HOST, "m", Probe(prompt="<bos> s1", continuation=" s2" * 9, context_tokens=2)
        )


def test_without_a_list_of_plugins_metrics_and_headers_are_there(server: Server) -> None:
    server.put("shadow", flags={"mode": "shadow", **HARMFUL})
    shown = until(
        lambda: r if (r := server.users.get("/v1/models")).headers["x-indexcache-state"] == "shadow" else None
    )
    assert [len(shown.headers.get_list(f"x-indexcache-{name}")) for name in ("pod", "state")] == [1, 1]
    assert "indexcache: VLLM_PLUGINS is not set" in server.log.read_text()
    assert {labels["mode"]: value for labels, value in server.metrics()["indexcache_mode"]}["shadow"] == 1
    assert server.users.get("/v1/state").status_code == 404


def test_random_sampling_needs_no_compiler_either(server: Server) -> None:
    body = {
        "model": "m",
        "prompt": [1, 2, 3],
        "max_tokens": 4,
        "temperature": 1,
        "top_p": 0.9,
        "seed": 1,
        "logprobs": 2,
    }
    assert (
        server.users.post("/v1/completions", json=body)
        .raise_for_status()
        .json()["usage"]["completion_tokens"]
        > 0
    )

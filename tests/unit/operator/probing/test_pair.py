"""Pairs of probes on one pod: what is asked, what counts, and whose fault a failure is."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from indexcache_core.contract import Identity, Mode
from indexcache_core.probe_ids import Side
from indexcache_operator.engines import Engines
from indexcache_operator.model import Probe, ProbeResult, RunProbes, Uncounted
from indexcache_operator.probing import completions
from indexcache_operator.probing.completions import Completions
from indexcache_operator.probing.pair import ask

from tests.unit.operator.probing.pods import HOST, Pod, served

PROBE = Probe(prompt="a b c", continuation=" d e", context_tokens=300)
RUN = RunProbes(revision="r1", number=7, pod="p", probe=PROBE)
Edges = tuple[Engines, Completions]


@pytest.fixture
def pod() -> Pod:
    return Pod()


@pytest.fixture
async def edges(pod: Pod) -> AsyncIterator[Edges]:
    async with served(pod) as edges:
        yield edges


async def test_one_pod_is_asked_the_same_tokens_without_reuse_and_then_under_it(
    pod: Pod, edges: Edges
) -> None:
    result = await ask(RUN, *edges, HOST)
    assert (result.full_logprob, result.reuse_logprob) == pytest.approx((-0.55, -0.8))
    expected = ProbeResult(revision="r1", number=7, pod="p", incarnation="i", mode=Mode.ON, context_tokens=4)
    assert replace(result, full_logprob=0.0, reuse_logprob=None) == expected
    a, b, c, d, e = map(ord, "abcde")
    of_each = [((1, a, b, c), d, 1), ((1, a, b, c, d), e, 1)]
    asked = [(tuple(x["prompt"]), *x["logprob_token_ids"], x["max_tokens"]) for _, x in pod.requests]
    assert asked == of_each * 2
    assert [side for side, _ in pod.requests] == [Side.FULL] * 2 + [Side.REUSE] * 2
    assert len(pod.runs) == 2


async def test_each_side_of_each_pair_has_a_salt_of_its_own(pod: Pod, edges: Edges) -> None:
    for _ in range(2):
        await ask(RUN, *edges, HOST)
    salts = [body["cache_salt"] for _, body in pod.requests]
    assert salts[0::2] == salts[1::2]  # the tokens of one continuation share it
    assert len(set(salts)) == 4


@pytest.mark.parametrize("modes", [(Mode.SHADOW, Mode.SHADOW), (Mode.SHADOW, Mode.ON), (Mode.ON, Mode.ON)])
async def test_in_shadow_a_pair_counts_too(pod: Pod, edges: Edges, modes: tuple[Mode, Mode]) -> None:
    pod.states = [{"mode": mode} for mode in modes]
    result = await ask(RUN, *edges, HOST)
    assert (result.uncounted, result.mode) == (None, modes[-1])


@pytest.mark.parametrize(
    "states",
    [
        [{"mode": Mode.OFF}, {}],
        [{}, {"mode": Mode.TRIPPED}],
        [{}, {"incarnation": "j"}],
        [{}, {"series_number": 1}],
        [{}, {"identity": Identity(revision="r2")}],
        [{"identity": Identity(revision="r2")}],
    ],
    ids=str,
)
async def test_a_pair_across_a_flip_does_not_count(
    pod: Pod, edges: Edges, states: list[dict[str, Any]]
) -> None:
    pod.states = states
    assert (await ask(RUN, *edges, HOST)).uncounted is Uncounted.FLIPPED


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({Side.REUSE: (100, 99)}, None),
        ({Side.REUSE: (1000, 989)}, Uncounted.NOT_ALL_REUSED),
        ({Side.REUSE: (100, 0)}, Uncounted.NOT_ALL_REUSED),
        ({Side.REUSE: (0, 0)}, Uncounted.NOT_ALL_REUSED),
        ({Side.FULL: (1000, 1)}, Uncounted.FULL_REUSED),
    ],
    ids=str,
)
async def test_a_side_counts_only_if_it_was_computed_as_it_says(
    pod: Pod, edges: Edges, shares: dict[Side | None, tuple[int, int]], expected: Uncounted | None
) -> None:
    pod.shares |= shares
    assert (await ask(RUN, *edges, HOST)).uncounted is expected


async def test_an_engine_that_does_not_tell_certifies_nothing(pod: Pod, edges: Edges) -> None:
    pod.tells = False
    assert (await ask(RUN, *edges, HOST)).uncounted is Uncounted.UNTOLD


@pytest.mark.parametrize("how", ["500", "400", "empty", "cut off"])
async def test_a_failure_under_reuse_alone_is_the_patterns(pod: Pod, edges: Edges, how: str) -> None:
    pod.fails = {Side.REUSE: how}
    result = await ask(RUN, *edges, HOST)
    assert (result.uncounted, result.reuse_logprob) == (None, None)
    assert result.message


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 1.5])
async def test_an_answer_under_reuse_that_is_no_logprob_is_a_failure(
    pod: Pod, edges: Edges, value: float
) -> None:
    pod.logprobs[Side.REUSE] = value
    result = await ask(RUN, *edges, HOST)
    assert (result.uncounted, result.reuse_logprob) == (None, None)


async def test_a_failure_in_steps_that_were_not_all_under_reuse_is_not_the_patterns(
    pod: Pod, edges: Edges
) -> None:
    pod.fails, pod.shares[Side.REUSE] = {Side.REUSE: "empty"}, (100, 50)
    assert (await ask(RUN, *edges, HOST)).uncounted is Uncounted.NOT_ALL_REUSED


@pytest.mark.parametrize("how", ["500", "400", "empty", "cut off"])
async def test_without_an_answer_at_the_baseline_the_other_side_is_not_asked(
    pod: Pod, edges: Edges, how: str
) -> None:
    pod.fails = {Side.FULL: how, Side.REUSE: "500"}
    assert (await ask(RUN, *edges, HOST)).uncounted is Uncounted.BASELINE_FAILED
    assert {side for side, _ in pod.requests} == {Side.FULL}


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("how", ["hangs up", "503", "429"])
async def test_a_connection_that_breaks_and_a_busy_pod_are_nobodys_fault(
    pod: Pod, edges: Edges, how: str, side: Side
) -> None:
    pod.fails = {side: how}
    assert (await ask(RUN, *edges, HOST)).uncounted is Uncounted.UNANSWERED


async def test_a_refused_connection_is_nobodys_fault(edges: Edges) -> None:
    closed = replace(edges[1], port=1)
    result = await ask(RUN, edges[0], closed, HOST)
    assert result.uncounted is Uncounted.UNANSWERED
    assert result.message


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completions, "TIMEOUT_SECONDS", 0.5)


@pytest.mark.usefixtures("impatient")
async def test_silence_under_reuse_alone_is_the_patterns(pod: Pod, edges: Edges) -> None:
    pod.fails = {Side.REUSE: "silent"}
    result = await ask(RUN, *edges, HOST)
    assert (result.uncounted, result.reuse_logprob) == (None, None)
    assert [side for side, _ in pod.requests][-1] is Side.FULL


@pytest.mark.usefixtures("impatient")
async def test_silence_of_the_whole_pod_is_nobodys_fault(pod: Pod, edges: Edges) -> None:
    pod.fails = {Side.FULL: "silent"}
    assert (await ask(RUN, *edges, HOST)).uncounted is Uncounted.UNANSWERED


@pytest.mark.usefixtures("impatient")
async def test_silence_that_goes_on_without_reuse_is_nobodys_fault(
    pod: Pod, edges: Edges, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod.fails = {Side.REUSE: "silent"}
    asked = Pod.complete

    async def complete(pod: Pod, request: Any) -> Any:
        if any(side is Side.REUSE for side, _ in pod.requests):
            pod.fails = {Side.FULL: "silent", Side.REUSE: "silent"}
        return await asked(pod, request)

    monkeypatch.setattr(Pod, "complete", complete)
    async with served(pod) as edges:
        assert (await ask(RUN, *edges, HOST)).uncounted is Uncounted.UNANSWERED


@pytest.mark.parametrize("states", [[{"gone": 1}], [{}, {"gone": 1}]])
async def test_a_control_port_that_does_not_answer_is_nobodys_fault(
    pod: Pod, edges: Edges, states: list[dict[str, Any]]
) -> None:
    pod.states = states
    assert (await ask(RUN, *edges, HOST)).uncounted is Uncounted.UNANSWERED

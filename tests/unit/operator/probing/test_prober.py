"""Pairs of probes in the background, and what is read from answers and tokens."""

import asyncio
from typing import Any

import pytest
from indexcache_core.probe_ids import Side
from indexcache_operator.model import Probe, ProbeResult, RunProbes, Uncounted
from indexcache_operator.probing.completions import ProbeError, Tokens, split, token_logprob
from indexcache_operator.probing.prober import Prober

from tests.unit.operator.probing.pods import HOST, Pod, served

PROBE = Probe(prompt="a b c", continuation=" d e", context_tokens=300)
RUN = RunProbes(revision="r1", number=7, pod="p", probe=PROBE)


async def one(pod: Pod) -> ProbeResult:
    """Return the result of one pair that was asked in the background."""
    ready = asyncio.Event()
    prober = Prober("n/r", ready.set)
    async with served(pod) as (engines, completions):
        prober.start(RUN, engines=engines, completions=completions, ip=HOST)
        prober.start(RUN, engines=engines, completions=completions, ip=HOST)  # one is under way
        async with asyncio.timeout(60):
            await ready.wait()
        asked = len(pod.requests)
        prober.start(RUN, engines=engines, completions=completions, ip=HOST)  # nobody took it up yet
        (result,) = prober.take()
        assert prober.take() == ()
        await prober.stop()
        assert len(pod.requests) == asked
    return result


async def test_a_pair_is_asked_in_the_background_and_handed_over_once() -> None:
    result = await one(Pod())
    assert (result.number, result.uncounted) == (7, None)
    assert result.seconds > 0


async def test_what_did_not_count_is_handed_over_too() -> None:
    assert (await one(Pod(fails={Side.FULL: "500"}))).uncounted is Uncounted.BASELINE_FAILED


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

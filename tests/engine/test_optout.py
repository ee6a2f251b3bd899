"""A request that opted out is served as by a pod that never reuses, whoever else runs beside it.

Mutants: a build whose steps reuse though they hold such a request, and one that names its blocks as the
others'.
"""

from pathlib import Path

import pytest
from indexcache_core.contract import Mode
from indexcache_runtime.control.ledger import Ledger

from tests.conformance.engine import Answer, Engine, prompts
from tests.engine.cpu_binding import at_each_block_size

pytestmark = [pytest.mark.engine, at_each_block_size]

PATTERN = "FSSS"
TOKENS = 24
ITS, OTHERS = prompts(21, 350)[0], prompts(22, 300, 420, 500)


def begin(engine: Engine, prompt: list[int], name: str) -> str:
    """Begin a request that opts out in its body."""
    from vllm import SamplingParams

    extra = {"indexcache": "off"}
    params = SamplingParams(
        max_tokens=TOKENS, temperature=0, ignore_eos=True, logprobs=0, detokenize=False, extra_args=extra
    )
    engine.llm.llm_engine.add_request(name, {"prompt_token_ids": prompt}, params)
    return name


@pytest.fixture(scope="module")
def clean(cpu_engine: tuple[Engine, Path]) -> list[Answer]:
    """Return what the engine answers at the baseline, with nothing in its cache."""
    cpu_engine[0].reset()
    return cpu_engine[0].ask_each([ITS, *OTHERS], TOKENS)


def in_company(engine: Engine, name: str) -> tuple[Answer, list[Answer]]:
    """Return its answer and the others', under reuse, where the prefix cache holds its prompt as reuse
    computed it.
    """
    engine.put(Mode.ON, PATTERN)
    engine.ask([ITS], TOKENS)
    others = [engine.start(p, 2 * TOKENS) for p in OTHERS]
    for _ in range(4):
        engine.step()
    mine, *rest = engine.finish([begin(engine, ITS, name), *others])
    return mine, rest


def test_it_is_served_as_by_a_pod_that_never_reused(engine: Engine, clean: list[Answer]) -> None:
    before = engine.state
    mine, others = in_company(engine, "alone-1")
    assert mine.tokens == clean[0].tokens
    assert mine.cached == 0
    assert [a.tokens[:TOKENS] for a in others] != [a.tokens for a in clean[1:]]  # they met reuse
    engine.step()
    after = engine.state
    assert after.requests.opted_out - before.requests.opted_out == 1
    assert after.requests.admitted_baseline - before.requests.admitted_baseline == 1
    assert after.requests.admitted_reuse - before.requests.admitted_reuse == 4
    assert after.requests.touched_by_reuse - before.requests.touched_by_reuse == 4
    assert after.steps.reuse_all_full - before.steps.reuse_all_full >= TOKENS
    assert after.steps.reuse > before.steps.reuse
    # Its blocks are the baseline's, found there; the others' are not, though steps with it ran all Full.
    engine.kill()
    assert engine.ask([ITS], 4)[0].cached >= engine.cacheable(ITS)
    assert [a.cached for a in engine.ask_each(OTHERS, 4)] == [0] * len(OTHERS)


def test_it_reads_what_the_baseline_computed(engine: Engine, clean: list[Answer]) -> None:
    engine.ask([ITS], 4)
    mine, _ = in_company(engine, "warm-1")
    assert mine.cached >= engine.cacheable(ITS)
    assert mine.tokens == clean[0].tokens


def test_flips_pass_it_by(engine: Engine, clean: list[Answer]) -> None:
    before = engine.state.cache
    engine.put(Mode.ON, PATTERN, in_flight="Recompute")
    name = begin(engine, ITS, "flips-1")
    for _ in range(3):
        for _ in range(5):
            engine.step()
        engine.kill()
        engine.step()
        engine.put(Mode.ON, PATTERN, in_flight="Recompute")
    (mine,) = engine.finish([name])
    assert mine.tokens == clean[0].tokens
    assert engine.state.cache == before


def test_once_it_is_gone_reuse_goes_on(engine: Engine) -> None:
    in_company(engine, "gone-1")
    before = engine.state.steps
    engine.ask([OTHERS[0]], 8)
    after = engine.state.steps
    assert (after.reuse_all_full, after.reuse > before.reuse) == (before.reuse_all_full, True)


def test_a_mark_in_the_requests_name_does_the_same(engine: Engine, clean: list[Answer]) -> None:
    engine.put(Mode.ON, PATTERN)
    (mine,) = engine.finish([engine.start(ITS, TOKENS, "cmpl-1-icoff-0")])
    assert mine.tokens == clean[0].tokens


def test_a_value_that_says_nothing_is_refused(engine: Engine) -> None:
    from vllm import SamplingParams
    from vllm.exceptions import VLLMValidationError

    params = SamplingParams(max_tokens=4, extra_args={"indexcache": "maybe"})
    with pytest.raises(VLLMValidationError, match=r"vllm_xargs\.indexcache: 'maybe'; expected \"off\"") as e:
        engine.llm.llm_engine.add_request("bad-1", {"prompt_token_ids": ITS}, params)
    assert e.value.parameter == "vllm_xargs.indexcache"
    assert not engine.llm.llm_engine.has_unfinished_requests()


def test_a_build_that_lets_its_steps_reuse_fails(
    engine: Engine, clean: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "any_out", lambda ledger, requests: False)
    mine, _ = in_company(engine, "mutant-1")
    assert mine.tokens != clean[0].tokens


def test_a_build_that_names_its_blocks_as_the_others_fails(
    engine: Engine, clean: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = engine.core.scheduler.kv_cache_manager.get_computed_blocks.__self__
    monkeypatch.setattr(blocks, "_opted_out", lambda request: False)
    mine, _ = in_company(engine, "mutant-2")
    assert mine.tokens != clean[0].tokens

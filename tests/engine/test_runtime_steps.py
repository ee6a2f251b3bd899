"""The runtime on a live engine: what is refused, counted, sampled and protected."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from indexcache_core.contexts import CONTEXT_ENDS_IN_K, context_bucket
from indexcache_core.contract import HALF_LIFE, Mode, Reason, Work
from indexcache_core.probe_ids import probe_request_id
from indexcache_runtime.access import Credentials
from indexcache_runtime.vllm.engine_core import takeover
from indexcache_runtime.vllm.engine_core.hasher import vllms_own

from tests.conformance.engine import ALL, TOKEN, Engine, prompts

pytestmark = pytest.mark.engine

PATTERN = "FSFS"
K = 64
OTHER = SimpleNamespace(name="other", model_classes=("OtherForCausalLM",), platform="cpu")
PROMPTS = prompts(1, 40, 150, 300, 500, 777)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda m, core: m.setattr("vllm.__version__", "0.33.0"), "0.33.0"),
        (lambda m, core: m.setattr(core.vllm_config, "speculative_config", object()), "--speculative-config"),
        (
            lambda m, core: m.setattr(
                core.vllm_config.model_config.hf_text_config, "index_topk_freq", 4, raising=False
            ),
            "index_topk_freq",
        ),
        (
            lambda m, core: m.setattr(
                "indexcache_runtime.vllm.worker.deepseek_v32_generic.SEAM", ("absent",)
            ),
            "absent",
        ),
        (
            lambda m, core: m.setattr("indexcache_runtime.vllm.worker.attach.ARCHITECTURES", (OTHER,)),
            "DeepseekV32ForCausalLM is not supported",
        ),
    ],
    ids=["version", "setting", "override", "seam", "architecture"],
)
def test_an_engine_that_is_not_supported_is_left_alone(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch, Any], None],
    named: str,
) -> None:
    core = engine.core
    objects = [core, core.scheduler, core.scheduler.kv_cache_manager, core.model_executor.driver_worker]
    change(monkeypatch, core)
    # What the plugin put around vLLM's hasher when it was registered is taken off again: that is all it
    # touches.
    monkeypatch.setattr(core, "request_block_hasher", vllms_own(core.request_block_hasher))
    before = [dict(vars(o)) for o in objects]
    control = takeover.adopt(core, Credentials(TOKEN))
    assert [dict(vars(o)) for o in objects] == before
    (reason,) = control.state().reasons
    assert named in reason
    assert not control.state().supported


def test_protected_sites_choose_for_themselves(engine: Engine) -> None:
    engine.put(Mode.ON, "FSFF", sample_rows=0)
    plain = engine.ask(PROMPTS, 8)
    engine.forget()
    engine.put(Mode.ON, "FSSS", protected=(2, 3), sample_rows=0)
    assert [a.tokens for a in engine.ask(PROMPTS, 8)] == [a.tokens for a in plain]


def test_rows_are_sampled_and_the_rest_costs_no_scoring(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    chose: list[int] = []
    for i, layer in enumerate(engine.model.model.layers):
        op = layer.self_attn.indexer.indexer_op

        def scores(q: Any, weights: Any, m: Any, rows: torch.Tensor, *, own: Any = op.row_scores) -> Any:
            scored.append(len(rows))
            return own(q, weights, m, rows)

        def choose(*args: Any, i: int = i, own: Any = op._choose) -> Any:
            chose.append(i)
            return own(*args)

        monkeypatch.setattr(op, "row_scores", scores)
        monkeypatch.setattr(op, "_choose", choose)
    engine.put(Mode.ON, PATTERN, sample_rows=5)
    engine.ask(PROMPTS, 4)
    assert scored
    assert max(scored) == 5
    assert set(chose) == {i for i, letter in enumerate(PATTERN) if letter == "F"}


def test_the_counters(engine: Engine) -> None:
    def delta(before: Any, after: Any) -> dict[str, int]:
        apart = {"contexts", "recent", "recent_decoding", "recent_work"}
        old, new = before.model_dump(exclude=apart), after.model_dump(exclude=apart)
        return {key: new[key] - old[key] for key in new if new[key] != old[key]}

    before = engine.state
    engine.ask(PROMPTS[:2], 4)
    engine.step()  # vLLM tells of finished requests with the next step, and another series begins
    engine.put(Mode.ON, PATTERN, min_context_tokens=200)
    engine.ask(PROMPTS[:1], 4)  # always under the floor
    engine.ask(PROMPTS[2:3], 4)  # its first step is under it
    engine.finish([engine.start(PROMPTS[1], 4, probe_request_id(TOKEN, "nonce"))])
    engine.start(PROMPTS[1], 4)
    engine.step()
    running = engine.state.requests
    assert (running.running_reuse, running.running_baseline) == (1, 0)
    while engine.llm.llm_engine.has_unfinished_requests():
        engine.step()
    engine.step()
    after = engine.state
    assert delta(before.requests, after.requests) == {
        "admitted_baseline": 2,
        "admitted_reuse": 3,
        "touched_by_reuse": 3,
        "finished": 5,
        "probes": 1,
    }
    contexts = [0] * (len(CONTEXT_ENDS_IN_K) + 1)
    for p in (*PROMPTS[:3], PROMPTS[0], PROMPTS[1]):
        contexts[context_bucket(len(p), K)] += 1
    assert [b - a for a, b in zip(before.requests.contexts, after.requests.contexts, strict=True)] == contexts
    recent = [0.0] * len(contexts)  # of the series that began with the flags
    for age, p in enumerate((PROMPTS[1], PROMPTS[2], PROMPTS[0])):
        recent[context_bucket(len(p), K)] += 0.5 ** (age / HALF_LIFE)
    assert after.requests.recent == after.requests.recent_decoding == pytest.approx(tuple(recent))
    work = [0.0] * len(contexts)
    for age, (p, cached) in enumerate(
        (
            (PROMPTS[1], engine.cacheable(PROMPTS[1])),
            (PROMPTS[2], 0),
            (PROMPTS[0], engine.cacheable(PROMPTS[0])),
        )
    ):
        computed = len(p) + 3  # what the last token would have seen was never computed
        pairs = (computed * (computed + 1) - cached * (cached + 1)) / 2
        work[context_bucket(len(p), K)] += pairs * 0.5 ** (age / HALF_LIFE)
    assert after.requests.recent_work == pytest.approx(tuple(work))
    steps = delta(before.steps, after.steps)
    assert (
        steps["reuse"] == 4
    )  # of the one request with more than 200 tokens: the second part of its prompt, and three tokens
    assert steps["reuse_all_full"] > 4
    assert steps["full"] >= 5


def test_a_probe_is_served_under_reuse_and_not_measured(engine: Engine) -> None:
    engine.put(Mode.ON, "FFFS", sample_rows=ALL)
    served = engine.finish([engine.start(PROMPTS[2], 8, probe_request_id(TOKEN, "n1"))])
    nothing = engine.state.observed
    assert nothing == ()
    engine.forget()
    assert engine.ask([PROMPTS[2]], 8) == served
    engine.step()
    shown = engine.state.observed
    assert {s.site for s in shown} == {None, 3}
    assert {s.work for s in shown} == set(Work)


def test_a_permit_that_lapses_under_load_ends_reuse(engine: Engine) -> None:
    engine.put(Mode.ON, PATTERN, permit=0.2)
    while engine.state.mode is Mode.ON:
        engine.ask(PROMPTS[:2], 8)
    assert engine.state.reason is Reason.PERMIT_LAPSED
    before = engine.state.steps
    assert [a.tokens for a in engine.ask(engine.prompts, 16)] == [a.tokens for a in engine.untouched]
    assert engine.state.steps.reuse == before.reuse

"""What every architecture must keep, on a live engine: modes do what they say and nothing else.

The engine first answers untouched; then the runtime takes charge of the same engine, so that "unpatched" and "off" differ in nothing else.
"""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from dsa_cpu.reference import Outcome, Reference
from indexcache_core.contract import CONTEXT_ENDS_IN_K, Mode, Reason, context_bucket, probe_request_id
from indexcache_core.pattern import leaders, shared_sites
from indexcache_runtime.engine import Measured
from indexcache_runtime.vllm import plugin
from indexcache_runtime.vllm.steps import MEASURED
from indexcache_runtime.vllm.worker import later

from tests.engine.runtime_engine import TOKEN, TOKENS_A_STEP, Answer, Engine, start

pytestmark = pytest.mark.engine

PATTERN = "FSFS"
K = 64
ALL = 4096  # rows sampled a step: more than a step has


def prompts(seed: int, *lengths: int) -> list[list[int]]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randint(3, 256, (n,), generator=g).tolist() for n in lengths]


PROMPTS = prompts(1, 40, 150, 300, 500, 777)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runtime") / "model"


@pytest.fixture(scope="module")
def untouched(folder: Path) -> tuple[Engine, list[Answer]]:
    engine = start(folder)
    assert "schedule" not in vars(engine.core.scheduler)
    return engine, engine.ask(PROMPTS, 16)


@pytest.fixture
def engine(untouched: tuple[Engine, list[Answer]]) -> Iterator[Engine]:
    engine = untouched[0]
    if engine.control is None:
        engine.adopt()
    engine.kill()
    engine.forget()
    engine.put(Mode.SHADOW, "FFFF")  # another series: the tests' own start from zero
    engine.kill()
    engine.step()  # vLLM tells of finished requests with the next step
    yield engine
    assert not engine.llm.llm_engine.has_unfinished_requests()


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    return Reference(folder)


def wrong_rows(reference: Reference, prompt: list[int], answer: Answer, **kwargs: Any) -> list[int]:
    """Generated tokens whose log-probability isn't the reference's, within 1e-4, but for those that hang on a rounding."""
    ids = prompt + list(answer.tokens)
    out = reference(ids[:-1], **kwargs)
    logprobs, sure = out.logits.log_softmax(-1), out.sure()
    rows = range(len(prompt) - 1, len(ids) - 1)
    assert sure[list(rows)].any()
    return [r for i, r in enumerate(rows) if sure[r] and abs(float(logprobs[r, ids[r + 1]]) - answer.logprobs[i]) > 1e-4]


def test_off_equals_unpatched(engine: Engine, untouched: tuple[Engine, list[Answer]]) -> None:
    assert engine.ask(PROMPTS, 16) == untouched[1]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda m, core: m.setattr("vllm.__version__", "0.33.0"), "0.33.0"),
        (lambda m, core: m.setattr(core.vllm_config, "speculative_config", object()), "--speculative-config"),
        (lambda m, core: m.setattr(core.vllm_config.model_config.hf_text_config, "index_topk_freq", 4, raising=False), "index_topk_freq"),
        (lambda m, core: m.setattr("indexcache_runtime.vllm.architectures.deepseek_v32_generic.SEAM", ("absent",)), "absent"),
        (lambda m, core: m.setattr("indexcache_runtime.vllm.architectures.deepseek_v32_generic.NAMES", ()), "DeepseekV32ForCausalLM"),
    ],
    ids=["version", "setting", "override", "seam", "architecture"],
)
def test_an_engine_that_is_not_supported_is_left_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch, Any], None], named: str
) -> None:
    core = engine.core
    objects = [core, core.scheduler, core.scheduler.kv_cache_manager, core.model_executor.driver_worker]
    change(monkeypatch, core)
    before = [dict(vars(o)) for o in objects]
    control = plugin.adopt(core, TOKEN)
    assert [dict(vars(o)) for o in objects] == before
    (reason,) = control.state().reasons
    assert named in reason
    assert not control.state().supported


def test_shadow_changes_nothing(engine: Engine, untouched: tuple[Engine, list[Answer]]) -> None:
    engine.put(Mode.SHADOW, PATTERN, sample_rows=ALL)
    assert engine.ask(PROMPTS, 16) == untouched[1]
    assert sum(s.overlap.count for s in engine.state.series if s.mode is Mode.SHADOW) > 0


def test_on_changes_something(engine: Engine, untouched: tuple[Engine, list[Answer]]) -> None:
    engine.put(Mode.ON, PATTERN)
    assert engine.ask(PROMPTS, 16) != untouched[1]


@pytest.mark.parametrize("pattern", ["FSFS", "FFSS", "FSSS"])
def test_shared_reads_exactly_its_leaders_set(engine: Engine, pattern: str) -> None:
    with engine.reads() as baseline:
        engine.ask(PROMPTS, 4)
    engine.forget()
    engine.put(Mode.ON, pattern, sample_rows=0)
    with engine.reads() as steps:
        engine.ask(PROMPTS, 4)
    assert len(steps) == len(baseline)
    for step in steps:
        for site, leader in enumerate(leaders(pattern)):
            assert step[site] == step[leader]
    first = pattern.index("S")  # until there the model is as before
    assert len(steps[0][0]) == TOKENS_A_STEP
    assert [steps[0][i] for i in range(first)] == [baseline[0][i] for i in range(first)]
    assert steps[0][first] != baseline[0][first]


def test_protected_sites_choose_for_themselves(engine: Engine) -> None:
    engine.put(Mode.ON, "FSFF", sample_rows=0)
    plain = engine.ask(PROMPTS, 8)
    engine.forget()
    engine.put(Mode.ON, "FSSS", protected=(2, 3), sample_rows=0)
    assert [a.tokens for a in engine.ask(PROMPTS, 8)] == [a.tokens for a in plain]


def test_full_to_scratch_changes_no_token(engine: Engine) -> None:
    engine.put(Mode.ON, PATTERN, sample_rows=0)
    with engine.reads() as shared:
        plain = engine.ask(PROMPTS, 16)
    engine.forget()
    engine.put(Mode.ON, PATTERN, sample_rows=ALL)
    with engine.reads() as measured:
        assert engine.ask(PROMPTS, 16) == plain
    assert measured == shared
    assert sum(s.overlap.count for s in engine.state.series if s.mode is Mode.ON) > 0


def flipped(engine: Engine, prompt: list[int], sample_rows: int = 0) -> Answer:
    """One request: its first step at the baseline, two under reuse, the rest at the baseline."""
    name = engine.start(prompt, 24)
    engine.step()
    engine.put(Mode.ON, PATTERN, sample_rows=sample_rows)
    engine.step()
    engine.step()
    engine.kill()
    return engine.finish([name])[0]


def reused_rows(prompt: list[int]) -> torch.Tensor:
    rows = torch.zeros(len(prompt) + 23, dtype=torch.bool)
    rows[TOKENS_A_STEP : 3 * TOKENS_A_STEP] = True
    return rows


def test_on_and_flips_are_as_the_reference_says(engine: Engine, reference: Reference) -> None:
    prompt = PROMPTS[4]
    answer = flipped(engine, prompt)
    assert wrong_rows(reference, prompt, answer, pattern=PATTERN, reuse_rows=reused_rows(prompt)) == []
    engine.forget()
    assert flipped(engine, prompt, ALL) == answer
    engine.forget()
    engine.put(Mode.ON, PATTERN)
    assert wrong_rows(reference, prompt, engine.ask([prompt], 24)[0], pattern=PATTERN) == []


def test_a_mutant_that_skips_the_key_write_fails(engine: Engine, reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    from dsa_cpu.indexer import TorchSparseAttnIndexer

    original = TorchSparseAttnIndexer.forward_cpu

    def forward(op: Any, *args: Any) -> Any:
        return op.topk_indices_buffer if "select" in vars(op) else original(op, *args)

    for layer in engine.model.model.layers:
        op = layer.self_attn.indexer.indexer_op
        monkeypatch.setattr(op, "_forward_method", forward.__get__(op))
    prompt = PROMPTS[4]
    answer = flipped(engine, prompt)
    assert wrong_rows(reference, prompt, answer, pattern=PATTERN, reuse_rows=reused_rows(prompt)) != []


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.ON])
def test_measurements_equal_the_reference(engine: Engine, reference: Reference, monkeypatch: pytest.MonkeyPatch, mode: Mode) -> None:
    steps: list[Any] = []
    count = engine.control.measured

    def measured_too(plan: Any, measured: Any) -> None:
        steps.append((plan, measured))
        count(plan, measured)

    monkeypatch.setattr(engine.control, "measured", measured_too)
    engine.put(mode, PATTERN, sample_rows=ALL)
    names = [engine.start(p, 8) for p in PROMPTS]
    answers = dict(zip(names, engine.finish(names), strict=True))
    outcomes: dict[str, tuple[Outcome, torch.Tensor]] = {}
    for name, prompt in zip(names, PROMPTS, strict=True):
        out = reference((prompt + list(answers[name].tokens))[:-1], pattern=PATTERN, mode=mode.value)
        outcomes[name] = (out, out.sure() & (out.margin >= 1e-5).all(0))
    compared = 0
    for plan, measured in steps:
        assert set(measured.overlap) == set(measured.recall) == set(shared_sites(PATTERN))
        for j, row in enumerate(plan.rows):
            out, sure = outcomes[next(n for n in names if row.request == n or row.request.startswith(n + "-"))]
            if not sure[row.position]:
                continue
            for site in shared_sites(PATTERN):
                assert measured.overlap[site][j] == pytest.approx(float(out.overlap[site, row.position]), abs=1e-3)
                assert measured.recall[site][j] == pytest.approx(float(out.recall[site, row.position]), abs=1e-3)
                compared += 1
    eligible = sum(max(len(p) + 7 - K, 0) for p in PROMPTS)
    assert sum(len(plan.rows) for plan, _ in steps) == eligible
    assert compared > 0.9 * 2 * eligible
    # What GET shows is those rows, by request, step and bucket of context.
    cells: dict[tuple[int, int], list[float]] = {}
    for plan, measured in steps:
        groups: dict[tuple[str, int], list[int]] = {}
        for j, row in enumerate(plan.rows):
            groups.setdefault((row.request, context_bucket(row.position + 1, K)), []).append(j)
        for site in measured.overlap:
            for (_, bucket), rows in groups.items():
                cells.setdefault((site, bucket), []).append(sum(measured.recall[site][j] for j in rows) / len(rows))
    shown = {(s.site, s.context): s.recall for s in engine.state.series if s.mode is mode}
    assert {key: h.count for key, h in shown.items()} == {key: len(v) for key, v in cells.items()}
    assert all(shown[key].sum == pytest.approx(sum(v)) for key, v in cells.items())


def test_rows_are_sampled_and_the_rest_costs_no_scoring(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
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
        old, new = before.model_dump(exclude={"contexts"}), after.model_dump(exclude={"contexts"})
        return {key: new[key] - old[key] for key in new if new[key] != old[key]}

    before = engine.state
    engine.ask(PROMPTS[:2], 4)
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
    steps = delta(before.steps, after.steps)
    assert steps["reuse"] == 4  # of the one request with more than 200 tokens: the second part of its prompt, and three tokens
    assert steps["reuse_all_full"] > 4
    assert steps["full"] >= 5


def test_a_probe_is_served_under_reuse_and_not_measured(engine: Engine) -> None:
    engine.put(Mode.ON, "FFFS", sample_rows=ALL)
    served = engine.finish([engine.start(PROMPTS[2], 8, probe_request_id(TOKEN, "n1"))])
    assert engine.state.series == ()
    engine.forget()
    assert engine.ask([PROMPTS[2]], 8) == served
    assert engine.state.series != ()


def test_a_permit_that_lapses_under_load_ends_reuse(engine: Engine, untouched: tuple[Engine, list[Answer]]) -> None:
    engine.put(Mode.ON, PATTERN, permit=0.2)
    while engine.state.mode is Mode.ON:
        engine.ask(PROMPTS[:2], 8)
    assert engine.state.reason is Reason.PERMIT_LAPSED
    before = engine.state.steps
    assert [a.tokens for a in engine.ask(PROMPTS, 16)] == [a.tokens for a in untouched[1]]
    assert engine.state.steps.reuse == before.reuse


def test_measurements_ride_on_asynchronous_outputs_too() -> None:
    """No CPU engine schedules asynchronously, so this is the seam alone."""
    from vllm.v1.outputs import AsyncModelRunnerOutput, ModelRunnerOutput

    class Waiting(AsyncModelRunnerOutput):  # type: ignore[misc]
        def get_output(self) -> ModelRunnerOutput:
            return ModelRunnerOutput(req_ids=["a"], req_id_to_index={"a": 0})

    measured = Measured(overlap={1: [0.5]}, recall={1: [0.25]})
    wrapped = later(Waiting(), measured)
    assert isinstance(wrapped, AsyncModelRunnerOutput)
    out = pickle.loads(pickle.dumps(wrapped.get_output()))
    assert (out.req_ids, getattr(out, MEASURED)) == (["a"], measured)

"""The runtime under CUDA graphs: the same tokens as vLLM's own static pattern, and switching while requests
generate.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from indexcache_core.contract import Indexer, Mode, Reason
from indexcache_core.counted import LEAST_AGREEMENT
from indexcache_runtime.measuring.budget import MeasuringBudget
from indexcache_runtime.vllm.engine_core.step_planner import StepPlanner
from indexcache_runtime.vllm.worker.cuda.batched_keys import BatchedKeys
from indexcache_runtime.vllm.worker.cuda.fast_decode import FastDecode
from indexcache_runtime.vllm.worker.cuda.graphs import GraphSets

from tests.conformance.checks import differences
from tests.conformance.engine import Answer, Engine, prompts
from tests.conformance.measuring import every_step
from tests.gpu.clean_runs import (
    ASKED,
    PATTERN,
    TOKENS,
    Clean,
    head,
    keys,
    later,
    off_by,
    same,
    static_answers,
)
from tests.gpu.cuda_binding import Cuda, engine

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]

GRAPHS: dict[str, Any] = {
    "compilation_config": {"cudagraph_capture_sizes": [1, 2, 4, 8, 16, 32, 64]},
    "max_num_batched_tokens": 4096,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs") / "model"


@pytest.fixture(scope="module")
def options(backend: str | None) -> dict[str, Any]:
    """Return the options of all engines."""
    return GRAPHS | {"attention_backend": backend}


@pytest.fixture(scope="module")
def native(folder: Path, options: dict[str, Any]) -> Clean:
    return static_answers(folder.with_name("static"), options)


@pytest.fixture(scope="module")
def launched(native: Clean, folder: Path, options: dict[str, Any]) -> tuple[Engine, Clean]:
    e = Engine(engine(folder, **options), Cuda())
    first = e.ask_each(ASKED, TOKENS)
    e.forget()
    second = e.ask_each(ASKED, TOKENS)
    e.adopt()
    assert e.state.supported, e.state.reasons
    return e, (first, second)


@pytest.fixture
def untouched(launched: tuple[Engine, Clean]) -> Clean:
    """Return what the engine answered before the runtime took charge, twice asked."""
    return launched[1]


@pytest.fixture
def under(launched: tuple[Engine, Clean]) -> Iterator[Engine]:
    launched[0].reset()
    yield launched[0]
    assert not launched[0].llm.llm_engine.has_unfinished_requests()


def test_steps_are_scheduled_ahead(under: Engine) -> None:
    """So all that these tests show, they show of asynchronous scheduling."""
    assert under.core.async_scheduling
    assert under.core.batch_queue is not None


def test_off_gives_the_tokens_of_an_unpatched_engine(under: Engine, untouched: Clean) -> None:
    same(under.ask_each(ASKED, TOKENS), untouched)


def test_on_gives_the_tokens_of_vllms_static_pattern(under: Engine, untouched: Clean, native: Clean) -> None:
    with pytest.raises(AssertionError):
        same(native[0], untouched)  # the pattern shows
    under.put(Mode.ON, PATTERN, sample_rows=0)
    same(under.ask_each(ASKED, TOKENS), native)
    device = under.state.device
    assert device.graphs == device.graphs_wanted > 0
    assert device.graph_bytes < 1 << 30


def test_measuring_under_graphs_changes_nothing(
    under: Engine, native: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MeasuringBudget, "allows", every_step)
    under.put(Mode.ON, PATTERN)
    same(under.ask_each(ASKED, TOKENS), native)
    for _ in range(20):  # one of the three is drawn for a step that is measured
        if {s.site for s in under.state.observed if s.overlap.count} == {None, 1, 2, 4}:
            break
        under.forget()
        under.ask_each(ASKED, 1)
    assert {s.site for s in under.state.observed if s.overlap.count} == {None, 1, 2, 4}
    assert 0 < under.state.device.scratch_bytes < 1 << 30


def test_graphs_choose_by_the_fast_indexer_and_what_they_choose_is_checked(
    under: Engine, native: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MeasuringBudget, "allows", every_step)
    choose, rows = FastDecode.choose, list[int]()

    def counted(decode: FastDecode, call: dict[str, Any], metadata: Any) -> None:
        rows.append(metadata.num_decode_tokens)
        choose(decode, call, metadata)

    monkeypatch.setattr(FastDecode, "choose", counted)
    under.put(Mode.ON, PATTERN)
    under.ask_each(ASKED, TOKENS)
    assert (rows, under.state.fast_indexer.rows) == ([], 0)
    under.put(Mode.ON, PATTERN, indexer=Indexer.FAST)
    same(under.ask_each(ASKED, TOKENS), native)
    assert set(rows) == {1, 2, 4, 8, 16, 32}  # all graphs but the largest were captured by it
    captured, device = len(rows), under.state.device
    assert device.graphs == device.graphs_wanted > 0
    under.put(Mode.OFF, PATTERN)
    under.forget()
    under.put(Mode.ON, PATTERN, indexer=Indexer.FAST)
    with under.measurements() as steps:
        same(under.ask_each(ASKED, TOKENS), native)
    assert len(rows) == captured  # replayed, all of them
    replayed = [share for plan, m in steps if plan.replayed for share in m.agreement]
    assert len(replayed) > 100
    found = under.state.fast_indexer
    assert found.rows >= len(replayed)
    assert min(replayed) >= LEAST_AGREEMENT


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.ON])
def test_a_replayed_step_measures_what_one_without_graphs_does(
    under: Engine, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MeasuringBudget, "allows", every_step)
    replays: list[dict[int, float]] = []
    for replayed in (True, False):
        if not replayed:
            monkeypatch.setattr(GraphSets, "replays", lambda sets, pattern, indexer: False)
        draws = random.Random(1)  # the same sites, step by step
        monkeypatch.setattr(StepPlanner, "_draw", lambda planner, rows, rng=draws: rng.getrandbits(32))
        under.reset()
        under.put(mode, PATTERN)
        names = [under.start(p, 60) for p in ASKED[:3]]
        while min(under.scheduled(n).num_output_tokens for n in names) < 4:
            under.step()
        with under.measurements() as steps:
            under.finish(names)
        assert all(plan.replayed and len(plan.rows) <= 3 for plan, _ in steps)
        found = [(site, x) for _, m in steps for site, values in m.overlap.items() for x in values]
        assert {site for site, _ in found} == {1, 2, 4}
        assert len(found) > 100
        replays.append({site: fmean(x for s, x in found if s == site) for site in (1, 2, 4)})
    assert replays[0] == pytest.approx(replays[1], abs=0.02)
    assert min(replays[0].values()) < 0.95


def test_what_is_beyond_the_reach_is_measured_and_no_graph_is_captured_again(
    under: Engine, untouched: Clean, monkeypatch: pytest.MonkeyPatch
) -> None:
    under.put(Mode.ON, PATTERN, sample_rows=0)
    under.ask(ASKED, TOKENS)
    under.forget()
    captured: list[Any] = []
    capture = GraphSets.capture

    def counted(sets: GraphSets, desc: Any) -> bool:
        captured.append(desc)
        return capture(sets, desc)

    monkeypatch.setattr(GraphSets, "capture", counted)
    monkeypatch.setattr(MeasuringBudget, "allows", every_step)
    under.put(Mode.ON, PATTERN, reach_tokens=1000)
    long, short = ASKED[:3], ASKED[3:]
    with under.measurements() as steps:
        for prompts_of_both in zip(long, short[:3], strict=True):
            names = [under.start(p, n) for p, n in zip(prompts_of_both, (TOKENS // 2, TOKENS), strict=True)]
            under.finish(names)
    assert captured == []
    found = {
        mode: {row.position + 1 > 1000 for plan, _ in steps if plan.mode is mode for row in plan.rows}
        for mode in (Mode.SHADOW, Mode.ON)
    }
    assert found[Mode.ON] == {False}
    assert True in found[Mode.SHADOW]
    assert not any(plan.replayed for plan, _ in steps if plan.mode is Mode.SHADOW)
    under.forget()
    same(under.ask_each(long, TOKENS), (untouched[0][:3], untouched[1][:3]))


def test_late_keys_are_those_that_layers_make(under: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of decode steps, late and by each layer itself, beside those of a prefill of the same tokens. A
    context of less than k tokens, all of which are chosen, so that what layers are given differs by no more
    than the order of sums.
    """
    asked, found = prompts(17, 300)[0], []
    for replayed in (True, False):
        if not replayed:
            monkeypatch.setattr(GraphSets, "captured", lambda sets, desc: desc.cg_mode == sets._modes.NONE)
            monkeypatch.setattr(GraphSets, "capture", lambda sets, desc: False)
        under.reset()
        under.put(Mode.ON, PATTERN, sample_rows=0)
        name = under.start(asked, 60)
        while under.scheduled(name).num_output_tokens < 50:
            under.step()
        decoded = keys(under, name, 301, 345)
        tokens = under.finish([name])[0].tokens
        under.forget()
        name = under.start([*asked, *tokens[:48]], 8)
        while not under.scheduled(name).num_output_tokens:
            under.step()
        found.append(off_by(decoded, keys(under, name, 301, 345)))
        under.finish([name])
    late, own = found
    assert late <= 1.5 * own + 0.01
    assert own < 0.1


def test_prefill_time_is_told_by_part(under: Engine) -> None:
    before = under.state.prefill_full
    for _ in range(20):
        under.forget()
        under.ask([ASKED[0]], 1)
    now = under.state.prefill_full
    assert now.steps > before.steps
    assert now.indexer_seconds > before.indexer_seconds
    assert now.attention_seconds > before.attention_seconds
    assert now.rest_seconds > before.rest_seconds


def switched(
    under: Engine, asked: list[list[int]]
) -> tuple[list[int], list[Answer], list[Answer], list[Answer]]:
    """Run requests through a switch to the pattern and a kill; return how many tokens each had before, and
    their answers; and those of requests that came after the switch and after the kill.
    """
    under.reset()
    names = [under.start(p, 128) for p in asked]
    while min(under.scheduled(n).num_output_tokens for n in names) < 20:
        under.step()
    before = [under.scheduled(n).num_output_tokens for n in names]
    under.put(Mode.ON, PATTERN)
    reused = under.ask(ASKED, 8)  # beside the others, all of which go on
    while min(under.scheduled(n).num_output_tokens for n in names) < 60:
        under.step()
    under.kill()
    full = under.ask(ASKED, 8)
    assert all(under.scheduled(n).num_output_tokens < 128 for n in names)
    return before, under.finish(names), reused, full


def test_switching_while_32_requests_generate_loses_none_and_corrupts_none(
    under: Engine, untouched: Clean, native: Clean
) -> None:
    """Before the switch they are a clean run's, as far as two clean runs agree; all of it is another such
    run's, as far as those do; and what comes after the switch is the pattern's.
    """
    asked = prompts(11, *[520 + 8 * i for i in range(32)])
    clean = []
    for _ in range(2):
        clean.append(under.ask(asked, 128))
        under.forget()
    (before, answers, reused, full), (_, again, _, _) = switched(under, asked), switched(under, asked)
    assert [len(a.tokens) for a in answers] == [128] * 32
    cut, one, other = (
        [head(a, n) for a, n in zip(found, before, strict=True)] for found in (answers, *clean)
    )
    same(cut, (one, other))
    assert later(answers, again) <= 2 * later(*clean) + 0.01
    of_pattern, of_full = ([head(a, 8) for a in clean[0]] for clean in (native, untouched))
    for got, own, other in ((reused, of_pattern, of_full), (full, of_full, of_pattern)):
        assert max(differences(a, b)[0] for a, b in zip(got, own, strict=True)) <= 0.05
        assert (
            later(got, own) < later(got, other) / 2
        )  # in steps of other requests and chunks sums are taken in another order
    assert under.state.requests.touched_by_reuse >= 32


def test_2000_switches_under_load_leave_memory_as_it_was(under: Engine) -> None:
    asked = prompts(13, *[300 + 10 * i for i in range(32)])
    names = [under.start(p, 2100) for p in asked]
    flags: dict[str, Any] = {"sample_rows": 0}
    free = 0
    for i in range(2000):
        if i % 2:
            under.put(Mode.ON, PATTERN, **flags)
        else:
            under.put(Mode.OFF, PATTERN)
        under.step()
        if i == 200:
            torch.cuda.synchronize()
            free = torch.cuda.mem_get_info()[0]
    torch.cuda.synchronize()
    assert free - torch.cuda.mem_get_info()[0] < 64 << 20
    assert [len(a.tokens) for a in under.finish(names)] == [2100] * 32


def test_no_graph_has_in_one_line_what_runs_at_once(under: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often PyTorch handed out all of its streams: none is captured on one to which the model forks
    work.
    """
    from vllm.utils.torch_utils import aux_stream

    captured_on: list[int] = []
    add = BatchedKeys.add

    def added(keys: BatchedKeys, *args: Any) -> None:
        if torch.cuda.is_current_stream_capturing():
            captured_on.append(torch.cuda.current_stream().stream_id)
        add(keys, *args)

    monkeypatch.setattr(BatchedKeys, "add", added)
    shared_expert = aux_stream()
    assert shared_expert is not None
    sides = [
        layer.self_attn.impl.index_group.side_stream.stream_id for layer in under.model.model.layers
    ]  # at the baseline: its own
    used = set()
    for pattern in ("FSSFS", "FFSSS", "FSFSF", "FSSSS") * 3:
        captured_on.clear()
        under.put(Mode.ON, pattern, sample_rows=0)
        under.ask([ASKED[5]], 16)
        leaders = {side for side, letter in zip(sides, pattern, strict=True) if letter == "F"}
        assert not {*captured_on} & {shared_expert.stream_id, *leaders}
        used |= {*captured_on}
    assert len(used) > 8


def test_a_pattern_that_is_replaced_frees_its_graphs(under: Engine) -> None:
    free = []
    for pattern in ("FSSFS", "FFSSS", "FSFSF", "FSSSS") * 3:
        under.put(Mode.ON, pattern, sample_rows=0)
        under.ask([ASKED[5]], 16)
        torch.cuda.synchronize()
        free.append(torch.cuda.mem_get_info()[0])
    assert free[3] - free[-1] < 128 << 20


def test_a_graph_whose_kernel_is_wrong_is_found(under: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comes last: reuse is over in this engine."""
    monkeypatch.setattr(MeasuringBudget, "allows", every_step)
    choose = FastDecode.choose

    def first(decode: FastDecode, call: dict[str, Any], metadata: Any) -> None:
        choose(decode, call, metadata)
        rows, topk = metadata.num_decode_tokens, call["topk_tokens"]
        if torch.cuda.is_current_stream_capturing():  # right in warming up, wrong in each replay
            call["topk_indices_buffer"][:rows, :topk] = torch.arange(topk, device="cuda", dtype=torch.int32)

    monkeypatch.setattr(FastDecode, "choose", first)
    under.put(Mode.ON, "FSFFS", indexer=Indexer.FAST)
    with under.measurements() as steps:
        under.ask_each(ASKED[:1], 4)
    assert min(share for _, m in steps for share in m.agreement) < LEAST_AGREEMENT
    assert (under.state.mode, under.state.reason) == (Mode.TRIPPED, Reason.INTERNAL_ERROR)
    assert "indexer Fast" in under.state.message

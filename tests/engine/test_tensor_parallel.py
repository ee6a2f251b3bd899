"""Two ranks, each in a process of its own: the conformance suite, one rank's answers, and flags that change
on both at the same step.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from indexcache_core.contract import Mode, Work

from tests.conformance.checks import agree
from tests.conformance.engine import ALL, Engine, launch
from tests.conformance.suite import Conformance
from tests.engine.cpu_binding import Cpu, layers

pytestmark = pytest.mark.engine

PATTERN = "FSFS"


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = launch(Cpu(ranks=2), tmp_path_factory.mktemp("two") / "model")
    yield engine
    engine.core.shutdown()


class TestTwoRanks(Conformance):
    """Runs the suite on two ranks: each check that looks at what attention reads looks at both."""


@pytest.fixture
def engine(launched: Engine) -> Engine:
    launched.reset()
    return launched


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.ON])
def test_answers_are_those_of_one_rank(engine: Engine, cpu_engine: tuple[Engine, Path], mode: Mode) -> None:
    one = cpu_engine[0]
    one.reset()
    for e in (one, engine):
        e.put(mode, PATTERN, sample_rows=0)
    agree(engine.ask(engine.prompts, 16), one.ask(one.prompts, 16), engine.binding.rounding)


Record = list[tuple[tuple[tuple[str, int], ...], tuple[str, ...]]]
"""For each step: how many tokens of which request, and what each site does."""


def record_steps(worker: Any) -> None:
    """Keep what the sites are set to whenever the model is about to run."""
    worker.steps = []
    inner = worker.worker
    own = inner.execute_model
    ops = [layer.self_attn.indexer.indexer_op for layer in layers(worker)]

    def execute(output: Any) -> Any:
        if output.total_num_scheduled_tokens:
            doing = tuple(op.select.__name__ for op in ops)
            worker.steps.append((tuple(output.num_scheduled_tokens.items()), doing))
        return own(output)

    inner.execute_model = execute


def recorded_steps(worker: Any) -> Any:
    """Return what was kept; keep no more."""
    del worker.worker.execute_model
    return worker.__dict__.pop("steps")


def under_load(engine: Engine, steps: int = 40) -> tuple[list[str], list[Record]]:
    """Let requests come and go while each third step flags change with the step on its way from the scheduler
    to the ranks: reuse, or a kill. For each step, the letters in force when it was scheduled, and what each
    rank did.
    """
    executor = engine.core.model_executor
    own = executor.execute_model
    scheduled: list[str] = []
    force = ["FFFF"]

    def execute(output: Any, *args: Any, **kwargs: Any) -> Any:
        if output.total_num_scheduled_tokens:
            scheduled.append(force[0])
            if len(scheduled) % 3 == 0:
                force[0] = "FFFF" if force[0] != "FFFF" else PATTERN
                if force[0] == PATTERN:
                    engine.put(Mode.ON, PATTERN, sample_rows=0)
                else:
                    engine.kill()
        return own(output, *args, **kwargs)

    engine.on_workers(record_steps)
    executor.execute_model = execute
    try:
        running = [engine.start(p, 8) for p in engine.prompts]
        while len(scheduled) < steps:
            engine.finish([running.pop(0)])
            running.append(engine.start(engine.prompts[len(scheduled) % 4], 8))
        engine.finish(running)
    finally:
        del executor.execute_model
        ranks = engine.on_workers(recorded_steps)
    return scheduled, ranks


def letters(record: Record) -> list[str]:
    """Return what the sites did in each step, as a pattern."""
    return ["".join({"select": "F", "_shared": "S"}[what] for what in doing) for _, doing in record]


def test_flags_change_on_both_ranks_at_the_same_step(engine: Engine) -> None:
    scheduled, (one, other) = under_load(engine)
    assert one == other
    assert letters(one) == scheduled
    assert sum(a != b for a, b in itertools.pairwise(scheduled)) > 10
    assert any(len(requests) > 3 for requests, _ in one)


def lag(worker: Any, late: bool) -> None:
    """Break rank 1: it does each step what the one before was to do."""
    if worker.rpc_rank != 1:
        return
    adapter = worker.execute_model.__self__._adapter
    if not late:
        del adapter.begin
        return
    own, held = adapter.begin, [None]

    def begin(plan: Any) -> None:
        own(held[0])
        held[0] = plan

    adapter.begin = begin


def test_a_rank_that_lags_a_step_is_seen(engine: Engine) -> None:
    engine.on_workers(lag, True)
    try:
        scheduled, (one, other) = under_load(engine)
    finally:
        engine.on_workers(lag, False)
    assert letters(one) == scheduled
    assert one != other
    assert [requests for requests, _ in one] == [requests for requests, _ in other]


def measure_nothing_covered(worker: Any, rank: int | None) -> None:
    """Have this rank measure that no reused set covers anything; None: all measure again."""
    from indexcache_runtime.vllm.worker import deepseek_v32_generic as generic
    from indexcache_runtime.vllm.worker import overlap

    def nothing(
        reused: torch.Tensor, fresh: torch.Tensor, scores: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(len(reused)), torch.zeros(len(reused))

    vars(generic)["compare"] = nothing if worker.rpc_rank == rank else overlap.compare


def test_measurements_come_from_one_rank(engine: Engine, cpu_engine: tuple[Engine, Path]) -> None:
    def measured(e: Engine) -> list[tuple[tuple[int | None, int, Work], int, float]]:
        e.reset()
        e.put(Mode.ON, PATTERN, sample_rows=ALL)
        e.ask(e.prompts, 4)
        e.step()  # vLLM tells of finished requests with the next step
        return [((s.site, s.context, s.work), s.recall.count, s.recall.sum) for s in e.state.observed]

    one = measured(cpu_engine[0])
    assert {work for (_, _, work), _, _ in one} == set(Work)
    assert [row[:2] for row in measured(engine)] == [row[:2] for row in one]
    assert [row[2] for row in measured(engine)] == pytest.approx([row[2] for row in one], abs=1e-2)
    try:
        for rank, harmed in ((1, False), (0, True)):
            engine.on_workers(measure_nothing_covered, rank)
            found = measured(engine)
            assert [row[:2] for row in found] == [row[:2] for row in one]
            assert all((row[2] == 0) is harmed for row in found)
    finally:
        engine.on_workers(measure_nothing_covered, None)

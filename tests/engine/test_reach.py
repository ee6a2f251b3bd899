"""Reuse reaches as far as its flags say: whoever is longer is served as by a pod that never reuses.

Mutants: a build that knows no reach, one whose steps reuse though they hold a request beyond it, and one that
looks such a request up as the others.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dsa_cpu.reference import Reference
from indexcache_core.contexts import context_bucket
from indexcache_core.contract import Mode, State, Work
from indexcache_core.probe_ids import Side, probe_request_id
from indexcache_runtime.control.ledger import Ledger
from indexcache_runtime.vllm.engine_core.reach import Reach

from tests.conformance.engine import ALL, TOKEN, Answer, Engine, prompts
from tests.engine.cpu_binding import at_each_block_size
from tests.engine.test_runtime_reference import wrong_rows

pytestmark = [pytest.mark.engine, at_each_block_size]

PATTERN = "FSSS"
TOKENS, K = 24, 64
LONG, SHORT = prompts(21, 500)[0], prompts(22, 300, 220, 260)
REACH = 400


@pytest.fixture(scope="module")
def clean(cpu_engine: tuple[Engine, Path]) -> list[Answer]:
    """Return what the engine answers at the baseline, with nothing in its cache."""
    cpu_engine[0].reset()
    return cpu_engine[0].ask_each([LONG, *SHORT], TOKENS)


@pytest.fixture(scope="module")
def reference(cpu_engine: tuple[Engine, Path]) -> Reference:
    return Reference(cpu_engine[1])


def in_company(engine: Engine) -> tuple[Answer, list[Answer]]:
    """Return the long request's answer and the short ones', where the prefix cache holds the long prompt as
    reuse computed it.
    """
    engine.put(Mode.ON, PATTERN)
    engine.ask([LONG], TOKENS)
    engine.put(Mode.ON, PATTERN, reach_tokens=REACH)
    names = [engine.start(p, 2 * TOKENS) for p in SHORT]
    for _ in range(6):
        engine.step()
    mine, *rest = engine.finish([engine.start(LONG, TOKENS), *names])
    return mine, rest


def delta(before: State, after: State) -> dict[str, float]:
    """Return which counts of requests and steps changed, and by how much."""
    old, new = (
        {**s.requests.model_dump(), **{f"steps_{k}": v for k, v in s.steps.model_dump().items()}}
        for s in (before, after)
    )
    return {key: new[key] - old[key] for key in new if isinstance(new[key], int) and new[key] != old[key]}


def test_a_long_prompt_is_served_as_by_a_pod_that_never_reused(engine: Engine, clean: list[Answer]) -> None:
    before = engine.state
    mine, others = in_company(engine)
    assert mine.tokens == clean[0].tokens
    assert mine.cached == 0
    assert [a.tokens[:TOKENS] for a in others] != [a.tokens for a in clean[1:]]  # they met reuse
    engine.step()
    found = delta(before, engine.state)
    assert found["steps_reuse_all_full"] >= TOKENS
    assert found["steps_reuse"] > 0
    assert {key: n for key, n in found.items() if not key.startswith("steps_")} == {
        "admitted_baseline": 1,
        "admitted_reuse": 4,  # once without a reach, the long one too
        "touched_by_reuse": 4,
        "beyond_reach": 1,
        "finished": 5,
    }
    # Its blocks are the baseline's, found there; the others' are not, though steps with it ran all Full.
    engine.kill()
    assert engine.ask([LONG], 4)[0].cached >= engine.cacheable(LONG)
    assert [a.cached for a in engine.ask_each(SHORT, 4)] == [0] * len(SHORT)


def test_it_reads_what_the_baseline_computed(engine: Engine, clean: list[Answer]) -> None:
    engine.ask([LONG], 4)
    mine, _ = in_company(engine)
    assert mine.cached >= engine.cacheable(LONG)
    assert mine.tokens == clean[0].tokens


def grown(engine: Engine) -> Answer:
    """Return the answer of a request that begins within the reach and ends 24 tokens beyond it."""
    engine.put(Mode.ON, PATTERN, reach_tokens=len(SHORT[0]) + TOKENS)
    return engine.ask([SHORT[0]], 2 * TOKENS)[0]


def test_one_that_grows_beyond_the_reach_runs_all_full_from_there_on(
    engine: Engine, reference: Reference
) -> None:
    before, reach = engine.state, len(SHORT[0]) + TOKENS
    answer = grown(engine)
    rows = torch.arange(len(SHORT[0]) + 2 * TOKENS - 1) < reach
    assert wrong_rows(reference, SHORT[0], answer, pattern=PATTERN, reuse_rows=rows) == []
    assert wrong_rows(reference, SHORT[0], answer, pattern=PATTERN) != []
    engine.step()
    found = delta(before, engine.state)
    assert (found["admitted_reuse"], found["left_reach"], "beyond_reach" in found) == (1, 1, False)
    assert found["steps_reuse_all_full"] == TOKENS - 1
    assert engine.state.cache.resalted_requests == before.cache.resalted_requests + 1
    # All it has came of reuse, also what was computed all Full.
    engine.kill()
    assert engine.ask([[*SHORT[0], *answer.tokens]], 4)[0].cached == 0


def test_a_shorter_reach_puts_out_what_is_in_flight_and_a_longer_one_takes_nothing_back(
    engine: Engine,
) -> None:
    engine.put(Mode.ON, PATTERN)
    before = engine.state
    longer, shorter = engine.start(SHORT[0], 3 * TOKENS), engine.start(SHORT[1], 8 * TOKENS)
    while min(engine.scheduled(name).num_output_tokens for name in (longer, shorter)) < 4:
        engine.step()
    engine.put(Mode.ON, PATTERN, reach_tokens=len(SHORT[0]) - 20)
    lowered = engine.state
    assert lowered.series_number == before.series_number
    for _ in range(5):
        engine.step()
    found = delta(lowered, engine.state)
    assert found == {"left_reach": 1, "steps_reuse_all_full": 5}
    engine.put(Mode.ON, PATTERN)
    raised = engine.state
    for _ in range(5):
        engine.step()
    assert delta(raised, engine.state) == {"steps_reuse_all_full": 5}
    engine.finish([longer])
    engine.step()
    alone = engine.state
    engine.finish([shorter])
    found = delta(alone, engine.state)
    assert found["steps_reuse"] > 0
    assert "steps_reuse_all_full" not in found
    new = engine.state
    engine.ask([SHORT[0]], 4)
    assert delta(new, engine.state)["admitted_reuse"] == 1


def test_in_flight_before_reuse_a_long_request_stays_the_baselines(
    engine: Engine, clean: list[Answer]
) -> None:
    name = engine.start(LONG, TOKENS)
    for _ in range(2):
        engine.step()
    before = engine.state
    engine.put(Mode.ON, PATTERN, reach_tokens=REACH)
    (mine,) = engine.finish([name])
    assert mine.tokens == clean[0].tokens
    found = delta(before, engine.state)
    assert not {"steps_reuse", "left_reach", "beyond_reach", "touched_by_reuse"} & found.keys()
    engine.kill()
    assert engine.ask([LONG], 4)[0].cached >= engine.cacheable(LONG)


def test_a_probe_reaches_any_length_and_one_that_is_none_does_not(
    engine: Engine, clean: list[Answer]
) -> None:
    engine.put(Mode.ON, PATTERN, reach_tokens=REACH)
    before = engine.state
    (probe,) = engine.finish([engine.start(LONG, TOKENS, probe_request_id(TOKEN, "n", Side.REUSE))])
    (run,) = [r for r in engine.state.probe_runs or () if r not in (before.probe_runs or ())]
    assert (run.rows, run.reused) == (len(LONG) + TOKENS - 1 - K,) * 2
    assert probe.tokens != clean[0].tokens
    (forged,) = engine.finish([engine.start(LONG, TOKENS, probe_request_id("forged", "n", Side.REUSE))])
    assert forged.tokens == clean[0].tokens


def test_who_is_out_is_measured_as_in_shadow_and_who_is_in_under_reuse(
    engine: Engine, reference: Reference
) -> None:
    engine.put(Mode.ON, "FSFS", sample_rows=ALL, reach_tokens=REACH)
    short, long = engine.start(SHORT[0], 4 * TOKENS), engine.start(LONG, TOKENS)
    with engine.measurements() as steps:
        _, answer = engine.finish([short, long])
        engine.step()
    by_mode: dict[Mode, set[str]] = {}
    out, compared = reference([*LONG, *answer.tokens][:-1], pattern="FSFS", mode="shadow"), 0
    sure = out.sure() & (out.margin >= 1e-5).all(0)
    for plan, measured in steps:
        by_mode.setdefault(plan.mode, set()).update(row.request for row in plan.rows)
        for j, row in enumerate(plan.rows if plan.mode is Mode.SHADOW else ()):
            if sure[row.position]:
                for site in (1, 3):
                    recall = float(out.recall[site, row.position])
                    assert measured.recall[site][j] == pytest.approx(recall, abs=1e-3)
                    compared += 1
    assert {mode: {name.startswith(long) for name in names} for mode, names in by_mode.items()} == {
        Mode.ON: {False},
        Mode.SHADOW: {True},
    }
    assert compared == 2 * int(sure[K:].sum()) > len(LONG) - K
    shown = {(s.mode, s.work, s.context) for s in engine.state.observed if s.site is None}
    for work, rows in (
        (Work.PREFILL, range(K + 1, len(LONG) + 1)),
        (Work.DECODE, range(len(LONG) + 1, len(LONG) + TOKENS)),
    ):
        expected = {context_bucket(n, K) for n in rows}
        assert {context for mode, w, context in shown if (mode, w) == (Mode.SHADOW, work)} == expected
    assert {context for mode, work, context in shown if (mode, work) == (Mode.ON, Work.DECODE)} == {
        context_bucket(len(SHORT[0]) + 1, K)
    }


def no_reach(reach: Reach, request: Any) -> bool:
    return False


def steps_not_held(ledger: Ledger, requests: Any) -> bool:
    return bool(ledger._out) and not ledger._out.isdisjoint(requests)


@pytest.mark.parametrize(
    ("owner", "name", "mutant"),
    [(Reach, "_exceeds", no_reach), (Ledger, "any_out", steps_not_held), (Reach, "beyond", no_reach)],
)
def test_a_build_that_ignores_it_fails(
    engine: Engine,
    clean: list[Answer],
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    mutant: Callable[..., bool],
) -> None:
    monkeypatch.setattr(owner, name, mutant)
    mine, _ = in_company(engine)
    assert (mine.tokens, mine.cached) != (clean[0].tokens, 0)


def test_a_build_that_reuses_beyond_the_edge_fails(
    engine: Engine, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reach, "_exceeds", no_reach)
    answer, reach = grown(engine), len(SHORT[0]) + TOKENS
    rows = torch.arange(len(SHORT[0]) + 2 * TOKENS - 1) < reach
    assert wrong_rows(reference, SHORT[0], answer, pattern=PATTERN, reuse_rows=rows) != []

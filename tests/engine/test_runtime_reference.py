"""The runtime on a live engine against the float64 reference: reuse, flips and measurements are what the
formulas say.
"""

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from dsa_cpu.reference import Outcome, Reference
from indexcache_core.contexts import context_bucket
from indexcache_core.contract import DECODED_TOKENS, Mode, Work
from indexcache_core.pattern import shared_sites

from tests.conformance.engine import ALL, Answer, Engine, prompts
from tests.engine.cpu_binding import TOKENS_A_STEP

pytestmark = pytest.mark.engine

PATTERN = "FSFS"
K = 64
PROMPTS = prompts(1, 40, 150, 300, 500, 777)


@pytest.fixture(scope="module")
def reference(cpu_engine: tuple[Engine, Path]) -> Reference:
    return Reference(cpu_engine[1])


def wrong_rows(reference: Reference, prompt: list[int], answer: Answer, **kwargs: Any) -> list[int]:
    """Return generated tokens whose log-probability isn't the reference's, within 1e-4, but for those that
    hang on a rounding.
    """
    ids = prompt + list(answer.tokens)
    out = reference(ids[:-1], **kwargs)
    logprobs, sure = out.logits.log_softmax(-1), out.sure()
    rows = range(len(prompt) - 1, len(ids) - 1)
    assert sure[list(rows)].any()
    return [
        r
        for i, r in enumerate(rows)
        if sure[r] and abs(float(logprobs[r, ids[r + 1]]) - answer.logprobs[i]) > 1e-4
    ]


def flipped(engine: Engine, prompt: list[int], sample_rows: int = 0) -> Answer:
    """Run one request: its first step at the baseline, two under reuse, the rest at the baseline."""
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


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.ON])
def test_measurements_equal_the_reference(engine: Engine, reference: Reference, mode: Mode) -> None:
    engine.put(mode, PATTERN, sample_rows=ALL)
    names = [engine.start(p, 8) for p in PROMPTS]
    with engine.measurements() as steps:
        answers = dict(zip(names, engine.finish(names), strict=True))
        engine.step()  # vLLM tells of finished requests with the next step
    outcomes: dict[str, tuple[Outcome, torch.Tensor]] = {}
    for name, prompt in zip(names, PROMPTS, strict=True):
        out = reference((prompt + list(answers[name].tokens))[:-1], pattern=PATTERN, mode=mode.value)
        outcomes[name] = (out, out.sure() & (out.margin >= 1e-5).all(0))
    compared = 0
    for plan, measured in steps:
        assert set(measured.overlap) == set(measured.recall) == set(shared_sites(PATTERN))
        for j, row in enumerate(plan.rows):
            out, sure = outcomes[
                next(n for n in names if row.request == n or row.request.startswith(n + "-"))
            ]
            if not sure[row.position]:
                continue
            for site in shared_sites(PATTERN):
                assert measured.overlap[site][j] == pytest.approx(
                    float(out.overlap[site, row.position]), abs=1e-3
                )
                assert measured.recall[site][j] == pytest.approx(
                    float(out.recall[site, row.position]), abs=1e-3
                )
                compared += 1
    eligible = sum(max(len(p) + 7 - K, 0) for p in PROMPTS)
    assert sum(len(plan.rows) for plan, _ in steps) == eligible
    assert compared > 0.9 * 2 * eligible
    # What GET shows is those rows, an observation for each request, bucket of context and kind of work.
    found: dict[tuple[str, int, Work], dict[int, list[float]]] = {}
    for plan, measured in steps:
        for j, row in enumerate(plan.rows):
            at_sites = found.setdefault((row.request, context_bucket(row.position + 1, K), row.work), {})
            for site in measured.recall:
                at_sites.setdefault(site, []).append(measured.recall[site][j])
    cells: dict[tuple[int | None, int, Work], list[float]] = {}
    for (_, bucket, work), at_sites in found.items():
        means = {site: fmean(values) for site, values in at_sites.items()}
        for where, mean in (*means.items(), (None, fmean(means.values()))):
            cells.setdefault((where, bucket, work), []).append(mean)
    shown = {(s.site, s.context, s.work): s.recall for s in engine.state.observed if s.mode is mode}
    assert {work for _, _, work in shown} == set(Work)
    assert {key: h.count for key, h in shown.items()} == {key: len(v) for key, v in cells.items()}
    assert all(shown[key].sum == pytest.approx(sum(v)) for key, v in cells.items())


def test_a_long_answer_is_one_observation_in_a_bucket_also_before_it_ends(engine: Engine) -> None:
    engine.put(Mode.SHADOW, PATTERN, sample_rows=ALL)
    name = engine.start(PROMPTS[2], 3 * DECODED_TOKENS // 2)  # from 150 tokens on: within 129-256

    def counts() -> dict[tuple[int | None, Work], int]:
        bucket = context_bucket(len(PROMPTS[2]) + 1, K)
        return {(s.site, s.work): s.recall.count for s in engine.state.observed if s.context == bucket}

    while engine.scheduled(name).num_output_tokens <= DECODED_TOKENS:
        assert {work for _, work in counts()} <= {Work.PREFILL}
        engine.step()
    engine.step()
    sites = (None, *shared_sites(PATTERN))
    assert counts() == {(site, work): 1 for site in sites for work in Work}
    engine.finish([name])
    engine.step()
    assert counts() == {(site, work): 1 for site in sites for work in Work}

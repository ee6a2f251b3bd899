"""Compares answers under CUDA graphs with those of clean runs, and keys with those that they should be."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from indexcache_kernels.index_keys.cases import held

from tests.conformance.checks import differences
from tests.conformance.engine import Answer, Engine, prompts
from tests.gpu.static_pattern import ANSWERS

PATTERN = "FSSFS"
ASKED = prompts(7, 4000, 2300, 1500, 900, 700, 520, 300)
TOKENS = 48

Clean = tuple[list[Answer], list[Answer]]
"""What a clean engine answers, twice asked: how far it agrees with itself."""


def static_answers(folder: Path, options: dict[str, Any]) -> Clean:
    """Return what vLLM's own static pattern answers, in a process of its own."""
    child = [
        sys.executable,
        "-m",
        "tests.gpu.static_pattern",
        str(folder),
        PATTERN,
        json.dumps(options),
        json.dumps([ASKED, TOKENS]),
    ]
    out = subprocess.run(child, check=True, capture_output=True, text=True, timeout=500).stdout
    twice = json.loads(
        next(line for line in out.splitlines() if line.startswith(ANSWERS)).removeprefix(ANSWERS)
    )
    first, second = (
        [Answer(tuple(tokens), tuple(logprobs), 0) for tokens, logprobs in answers] for answers in twice
    )
    return first, second


def later(a: list[Answer], b: list[Answer]) -> float:
    """Return the mean difference in log-probability of the tokens after the first."""
    return fmean(d for one, other in zip(a, b, strict=True) for d in differences(one, other)[1:])


def same(found: list[Answer], clean: Clean) -> None:
    """Check that the first token's log-probability is a clean run's, as prefills repeat to the bit, and that
    those of decode steps are as near to a clean run's as clean runs are to each other: vLLM's top-k of decode
    steps breaks ties by chance.
    """
    for got, expected in zip(found, clean[0], strict=True):
        assert differences(got, expected)[0] <= 0.001
    assert later(found, clean[0]) <= 2 * later(*clean) + 0.01


def keys(under: Engine, name: str, first: int, last: int) -> dict[int, torch.Tensor]:
    """Return a request's index keys at these positions, as its Shared layers' caches hold them: (positions,
    dim) float32.
    """
    request = under.scheduled(name)
    blocks = list(under.core.scheduler.kv_cache_manager.get_block_ids(request.request_id)[0])
    found = {}
    for i, letter in enumerate(PATTERN):
        if letter == "S":
            cache = under.model.model.layers[i].self_attn.indexer.k_cache.kv_cache
            found[i] = held(cache[blocks])[first:last].cpu()
    return found


def off_by(found: dict[int, torch.Tensor], wanted: dict[int, torch.Tensor]) -> float:
    """Return the largest mean distance of a site's keys, as a share of what they are."""
    assert found.keys() == wanted.keys()
    assert all(key.abs().amax(1).min() > 0 for key in wanted.values())
    return max(
        float((found[i] - wanted[i]).norm(dim=1).mean() / wanted[i].norm(dim=1).mean()) for i in wanted
    )


def head(answer: Answer, tokens: int) -> Answer:
    """Return its first tokens."""
    return Answer(answer.tokens[:tokens], answer.logprobs[:tokens], 0)

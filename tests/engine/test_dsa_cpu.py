"""A real vLLM on this machine's CPU, through dsa_cpu, against the float64 reference: same tokens,
log-probabilities within 1e-4.

Not compared are rows where a choice hangs on less than 1e-5 between the k-th and the next score in the
reference, and rows that attend to such a one: float32 may order those two either way. The prompts are such
that there is hardly one.
"""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from dsa_cpu import random_model
from dsa_cpu.reference import Reference

pytestmark = pytest.mark.engine

TOLERANCE = 1e-4
MAX_TOKENS = 24
K = random_model.CONFIG["index_topk"]
LENGTHS = (40, 150, 300, 500, 777)
ENVIRONMENT = {
    "VLLM_PLUGINS": "dsa_cpu",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
TRAINED = Path(__file__).parents[2] / "testbed/models/tiny_dsa"


@dataclass(frozen=True)
class Setup:
    """An engine to start: its model, tokens a step may hold, the prompts' seed, tokens a block of KV."""

    architecture: str
    tokens_a_step: int
    seed: int
    block_size: int = 16


SETUPS = {
    "chunked": Setup("DeepseekV32ForCausalLM", 160, seed=7),
    "chunked, blocks of 128": Setup("DeepseekV32ForCausalLM", 160, seed=7, block_size=128),
    "whole": Setup("GlmMoeDsaForCausalLM", 2048, seed=2),
}


def prompts(seed: int) -> list[list[int]]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randint(3, 256, (n,), generator=g).tolist() for n in LENGTHS]


def serve(
    model: Path,
    tokens_a_step: int,
    block_size: int,
    batches: dict[str, Any],
    out: Path,
) -> dict[str, Any]:
    """Return what a vLLM of its own makes of the batches, one after another."""
    engine = {
        "model": str(model),
        "dtype": "float32",
        "max_model_len": 1088,
        "max_num_batched_tokens": tokens_a_step,
        "max_num_seqs": 8,
        "block_size": block_size,
        "enable_prefix_caching": True,
        "kv_cache_memory_bytes": 64 << 20,
        "distributed_executor_backend": "uni",
        "logprobs_mode": "raw_logprobs",
        "skip_tokenizer_init": True,
        "seed": 0,
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("dsa_engine.py")), str(out)],
        input=json.dumps({"engine": engine, "batches": batches}),
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    results: dict[str, Any] = json.loads(out.read_text())
    return results


class Served:
    """Holds one engine's results, and the reference for its model."""

    def __init__(self, setup: Setup, folder: Path, reference: Reference) -> None:
        self.reference, self.setup, self.prompts = reference, setup, prompts(setup.seed)
        longer = [[*ids, 9, 8, 7] for ids in self.prompts]
        batches = {f"alone {len(ids)}": batch([ids]) for ids in self.prompts} | {
            "together": batch(self.prompts),
            "cached": batch(longer, prompt_logprobs=False),
            "choices": batch(self.prompts[2:3], every=7),
            "choices together": batch(self.prompts[:3], every=2),
        }
        file = folder / f"out-{setup.block_size}.json"
        out = serve(folder, setup.tokens_a_step, setup.block_size, batches, file)
        self.block_size, self.scheduler = out["block_size"], out["scheduler"]
        self.results, self.choices = out["batches"], out["choices"]

    def alone(self) -> list[dict[str, Any]]:
        return [self.results[f"alone {len(ids)}"][0] for ids in self.prompts]


def batch(ids: list[list[int]], *, prompt_logprobs: bool = True, every: int | None = None) -> dict[str, Any]:
    return {"prompts": ids, "max_tokens": MAX_TOKENS, "prompt_logprobs": prompt_logprobs, "every": every}


@pytest.fixture(scope="module")
def modelled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Reference]]:
    """Return what gives a model's folder and its reference, by architecture; one for all engines that serve
    it."""

    @functools.cache
    def made(architecture: str) -> tuple[Path, Reference]:
        folder = tmp_path_factory.mktemp(architecture) / "model"
        random_model.write(folder, architecture, seed=0 if architecture.startswith("Deepseek") else 1)
        return folder, Reference(folder)

    return made


@pytest.fixture(scope="module", params=SETUPS)
def served(request: pytest.FixtureRequest, modelled: Callable[[str], tuple[Path, Reference]]) -> Served:
    setup = SETUPS[request.param]
    return Served(setup, *modelled(setup.architecture))


@dataclass(frozen=True)
class Difference:
    """Says how one request differs from the reference forced along its tokens."""

    logprobs: torch.Tensor
    """(rows,) float64, absolute; the last rows of the request, those whose log-probabilities were asked
    for.
    """
    sure: torch.Tensor
    """(rows,) bool."""
    wrong_tokens: torch.Tensor
    """(MAX_TOKENS,) bool: the generated token is not the reference's best, nor as good within the
    tolerance.
    """

    def check(self) -> None:
        """Check the promise, and that it is about nearly all rows."""
        assert self.sure.float().mean() > 0.9
        assert self.logprobs[self.sure].max() < TOLERANCE
        assert not (self.wrong_tokens & self.sure[-MAX_TOKENS:]).any()


@functools.cache
def forced(reference: Reference, ids: tuple[int, ...], **how: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits and sure rows of the reference; requests alone and together give the same tokens, and are
    computed once.
    """
    outcome = reference(ids, **how)
    return outcome.logits, outcome.sure()


def difference(reference: Reference, ids: list[int], got: dict[str, Any], **how: Any) -> Difference:
    full = ids + got["tokens"]
    logits, all_sure = forced(reference, tuple(full), **how)
    expected = logits.log_softmax(-1)[:-1]
    rows = len(got["logprobs"])
    of_tokens = expected.gather(1, torch.tensor(full[1:])[:, None])[:, 0]
    behind = expected.max(-1).values - of_tokens
    return Difference(
        logprobs=(of_tokens[-rows:] - torch.tensor(got["logprobs"], dtype=torch.float64)).abs(),
        sure=all_sure[:-1][-rows:],
        wrong_tokens=behind[-MAX_TOKENS:] > TOLERANCE,
    )


def test_the_engine_works_in_steps_as_asked(served: Served) -> None:
    """By the machine, vLLM's own CPU platform turns chunks off, widens the steps and picks the blocks."""
    assert served.scheduler == {
        "max_num_batched_tokens": served.setup.tokens_a_step,
        "enable_chunked_prefill": True,
    }
    assert served.block_size == served.setup.block_size


@pytest.mark.parametrize("which", range(len(LENGTHS)), ids=[f"{n} tokens" for n in LENGTHS])
def test_one_request(served: Served, which: int) -> None:
    difference(served.reference, served.prompts[which], served.alone()[which]).check()


def test_context_of_no_more_than_k_is_dense_attention(served: Served) -> None:
    assert LENGTHS[0] + MAX_TOKENS <= K
    difference(served.reference, served.prompts[0], served.alone()[0], topk=0).check()


def test_the_choice_matters_in_this_model(served: Served) -> None:
    """Else a wrong choice of positions would pass: dense attention must fail the same check."""
    for ids, got in zip(served.prompts[2:], served.alone()[2:], strict=True):
        found = difference(served.reference, ids, got, topk=0)
        assert (found.logprobs[K:] > 1000 * TOLERANCE).float().mean() > 0.3


def test_requests_together(served: Served) -> None:
    for ids, got in zip(served.prompts, served.results["together"], strict=True):
        difference(served.reference, ids, got).check()


def test_requests_together_get_the_tokens_they_get_alone(served: Served) -> None:
    assert [r["tokens"] for r in served.results["together"]] == [r["tokens"] for r in served.alone()]


def test_prefix_cache_hits(served: Served) -> None:
    for ids, got in zip(served.prompts, served.results["cached"], strict=True):
        assert got["cached"] >= len(ids) // served.block_size * served.block_size
        difference(served.reference, [*ids, 9, 8, 7], got).check()


def test_each_choice_and_its_scores(served: Served) -> None:
    """What a plugin sees: the sets of every layer are the reference's, and `row_scores` gives the scores they
    were chosen by.
    """
    ids, got = served.prompts[2], served.results["choices"][0]
    outcome = served.reference(ids + got["tokens"])
    sure, seen = outcome.sure(), set()
    for choice in served.choices["choices"]:
        site, position = choice["site"], choice["position"]
        if not sure[position]:
            continue
        seen.add((site, position))
        chosen = [p for p in choice["chosen"] if p >= 0]
        assert sorted(chosen) == outcome.fresh[site, position].nonzero()[:, 0].tolist()
        assert choice["chosen"] == chosen + [-1] * (K - len(chosen))
        expected = outcome.scores[site, position, : position + 1]
        torch.testing.assert_close(
            torch.tensor(choice["scores"], dtype=torch.float64), expected, rtol=0, atol=TOLERANCE
        )
    assert len({site for site, _ in seen}) == served.reference.layers
    assert min(position for _, position in seen) < K < max(position for _, position in seen)
    assert len(seen) > 100


def test_each_choice_among_several_requests(served: Served) -> None:
    """Rows of several requests in one step, prefills and decodes: each is chosen by its own request's
    scores.
    """
    requests, decodes = set(), 0
    for choice in served.choices["choices together"]:
        scores = torch.tensor(choice["scores"], dtype=torch.float64)
        best = scores.sort(descending=True, stable=True)
        if len(scores) > K and best.values[K - 1] - best.values[K] < 1e-5:
            continue  # summed in another order, the two may swap
        requests.add(choice["request"])
        decodes += choice["rows"] == choice["requests"] > 1
        assert {p for p in choice["chosen"] if p >= 0} == set(best.indices[:K].tolist())
    assert requests == {0, 1, 2}
    assert decodes > 20


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[list[int], dict[str, Any]]]:
    config = json.loads((TRAINED / "config.json").read_text())
    g = torch.Generator().manual_seed(0)
    asked = {}
    for pairs in (16, 128, 432):  # BOS, and pairs of symbols
        symbols = (
            torch.stack([torch.randperm(512, generator=g)[:pairs] for _ in range(2)], 1).flatten().tolist()
        )
        asked[f"{pairs} pairs"] = [config["bos_token_id"], *symbols]
    batches = {name: batch([ids]) for name, ids in asked.items()}
    results = serve(TRAINED, 512, 16, batches, tmp_path_factory.mktemp("trained") / "out.json")["batches"]
    return lambda name: (asked[name], results[name][0])


@pytest.mark.parametrize("pairs", [16, 128, 432])
def test_trained_model(trained: Callable[[str], tuple[list[int], dict[str, Any]]], pairs: int) -> None:
    """Its two index heads tie often, to the bit, in float32 as in float64: rows that depend on that may
    differ, and hardly do.
    """
    ids, got = trained(f"{pairs} pairs")
    found = difference(Reference(TRAINED), ids, got)
    assert found.logprobs[found.sure].max() < TOLERANCE
    assert (found.logprobs < TOLERANCE).float().mean() > 0.99
    assert not found.wrong_tokens.any()

"""Records what a trained model asks its indexers, so that kernels are tried on scores that occur: those of
the testbed's model on one of its tables.

    python -m benchmarks.recorded_scores FOLDER [--pairs 512]

FOLDER is the model's, as `testbed build` makes it. Queries and keys are rounded to fp8 as vLLM rounds them on
a GPU, a scale for each vector, a query's put into its weights. `cases` pads them to 32 heads of 128, the
padding with weight 0, so that scores are the model's own.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import torch
from indexcache_kernels.index_topk.cases import Case
from indexcache_kernels.index_topk.naive import index_scores
from safetensors.torch import load_file, save_file
from torch.nn.functional import pad

FILE = Path(__file__).parent / "results/recorded_scores.safetensors"
ROWS, HEADS, DIM = 8, 32, 128
MOST = 448.0
"""The largest number in float8_e4m3fn."""
ALIKE = 1e-5
"""Of a row's largest score: sums in another order differ by less."""


def rounded(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return vectors in float8_e4m3fn, and the scale of each, a power of two."""
    scale = torch.exp2((x.abs().amax(-1).clamp(min=1e-12) / MOST).log2().ceil())
    return (x / scale[..., None]).to(torch.float8_e4m3fn), scale


def recorded(q: torch.Tensor, k: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what is recorded of a prompt: its keys and its last ROWS rows.

    q: (tokens, heads, dim), k: (tokens, dim), weights: (tokens, heads).
    """
    (q8, q_scale), (k8, k_scale) = rounded(q[-ROWS:].float()), rounded(k.float())
    return {"q": q8, "k": k8, "k_scale": k_scale, "weights": weights[-ROWS:].float() * q_scale}


def cases(topk: int = 64) -> dict[str, Case]:
    """Return what was recorded as cases, one a layer. Scores are not exact: see `below`."""
    data = load_file(FILE)
    found = {}
    for layer in sorted({name.split(".")[0] for name in data}):
        q, k, k_scale, weights = (data[f"{layer}.{name}"] for name in ("q", "k", "k_scale", "weights"))
        rows, heads, dim = q.shape
        ends = torch.arange(len(k) - rows, len(k), dtype=torch.int32) + 1
        found[f"layer {layer} of a trained model"] = Case(
            pad(q.view(torch.uint8), (0, DIM - dim, 0, HEADS - heads)).view(q.dtype),
            pad(k.view(torch.uint8), (0, DIM - dim)).view(k.dtype),
            k_scale,
            pad(weights, (0, HEADS - heads)),
            torch.zeros(rows, dtype=torch.int32),
            ends,
            topk,
        )
    return found


def below(c: Case, found: torch.Tensor) -> int:
    """Count chosen keys whose score is below the last of the best by more than rounding may do, and places
    without a key, or with one that is there twice."""
    scores = index_scores(c.q, c.k, c.k_scale, c.weights)
    later = torch.arange(len(c.k)) >= c.ends[:, None]
    best = scores.masked_fill(later, float("-inf")).topk(c.topk, dim=1).values
    least = best[:, -1:] - ALIKE * scores.abs().amax(1, keepdim=True)
    chosen, ordered = found.long(), found.sort(dim=1).values
    bad = (scores.gather(1, chosen.clamp(min=0)) < least) | (chosen < 0) | (chosen >= c.ends[:, None])
    return int(bad.sum() + (ordered[:, 1:] == ordered[:, :-1]).sum())


def record(folder: Path, pairs: int) -> dict[str, torch.Tensor]:
    """Return what each layer's indexer was asked at the end of a table, by layer and argument."""
    os.environ |= {
        "VLLM_PLUGINS": "dsa_cpu",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "HF_HUB_OFFLINE": "1",
    }
    from dsa_cpu.indexer import TorchSparseAttnIndexer
    from indexcache_testbed.model.questions import table
    from vllm import LLM, SamplingParams

    ids = table(pairs, seed=1, index=0).ids()
    own, found = TorchSparseAttnIndexer.forward_cpu, list[dict[str, torch.Tensor]]()

    def forward(
        op: Any, hidden: torch.Tensor, q: torch.Tensor, k: torch.Tensor, weights: torch.Tensor
    ) -> Any:
        if len(q) >= len(ids):
            found.append(recorded(q[: len(ids)], k[: len(ids)], weights[: len(ids)]))
        return own(op, hidden, q, k, weights)

    for name in ("forward_cpu", "forward_native"):  # before there are layers, which bind them
        setattr(TorchSparseAttnIndexer, name, forward)
    llm = LLM(
        str(folder),
        dtype="float32",
        max_model_len=len(ids) + 8,
        max_num_batched_tokens=len(ids) + 8,
        block_size=16,
        kv_cache_memory_bytes=256 << 20,
        distributed_executor_backend="uni",
        skip_tokenizer_init=True,
    )
    llm.generate([{"prompt_token_ids": ids}], SamplingParams(max_tokens=1, detokenize=False), use_tqdm=False)
    return {f"{layer}.{name}": x for layer, asked in enumerate(found) for name, x in asked.items()}


def main() -> None:
    """Record, and write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recorded_scores")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=512)
    asked = parser.parse_args()
    found = record(asked.folder, asked.pairs)
    if not found:
        sys.exit(f"{asked.folder}: no indexer was asked; expected the testbed's model")
    save_file(found, FILE)


if __name__ == "__main__":
    main()

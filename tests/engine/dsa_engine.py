"""Runs one vLLM engine in a process of its own: reads a job from stdin, writes what came out to the file
named by its argument.

A process of its own, since vLLM loads its plugins once a process, and the tests of other plugins run beside
these. job: {"engine": arguments of vllm.LLM, "batches": {name: {"prompts": [[token, ...], ...], "max_tokens":
n, "prompt_logprobs": bool, "every": n or null}}} out: {"block_size": n, "scheduler": {...}, "batches": {name:
[{"tokens": [...], "logprobs": [...], "cached": n}, ...]}, "choices": {name: [...]}}; logprobs of all prompt
tokens but the first, if asked for, and of the generated ones. A request that asks for its prompt's
log-probabilities does not read the prefix cache. choices: for each n-th row of each step and layer, what the
indexer chose and scored.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def request(o: Any) -> dict[str, Any]:
    """Return what came out of one request."""
    tokens = list(o.outputs[0].token_ids)
    rows = list(zip(o.outputs[0].logprobs, tokens, strict=True))
    if o.prompt_logprobs:
        rows = list(zip(o.prompt_logprobs[1:], o.prompt_token_ids[1:], strict=True)) + rows
    return {
        "tokens": tokens,
        "logprobs": [row[token].logprob for row, token in rows],
        "cached": o.num_cached_tokens,
    }


@contextmanager
def recorded(llm: Any, every: int | None) -> Iterator[list[dict[str, Any]]]:
    """Record each layer's choice for the time of a block: as a plugin would take it, by putting its own
    `select` before the op's.
    """
    import torch

    out: list[dict[str, Any]] = []
    layers = llm.llm_engine.model_executor.driver_worker.worker.model_runner.model.model.layers
    ops = [layer.self_attn.indexer.indexer_op for layer in layers]

    def through(site: int, op: Any) -> Any:
        plain = op.select

        def select(q: Any, weights: Any, m: Any) -> None:
            plain(q, weights, m)
            rows = torch.arange(0, m.num_actual_tokens, every or 1).flip(0)  # in any order, says row_scores
            scores = op.row_scores(q, weights, m, rows)
            for row, of_row in zip(rows.tolist(), scores, strict=True):
                position, request = int(m.position[row]), int(m.request[row])
                assert bool((of_row[position + 1 :] == float("-inf")).all())
                chosen = op.topk_indices_buffer[row]
                out.append(
                    {
                        "site": site,
                        "rows": m.num_actual_tokens,
                        "requests": len(m.seq_lens),
                        "request": request,
                        "position": position,
                        "chosen": chosen.tolist(),
                        "scores": of_row[: position + 1].tolist(),
                    }
                )

        return select

    if every is None:
        yield out
        return
    for site, op in enumerate(ops):
        op.select = through(site, op)
    yield out
    for op in ops:
        del op.select


def main() -> None:
    """Run the job."""
    from vllm import LLM, SamplingParams

    job = json.load(sys.stdin)
    llm = LLM(**job["engine"])
    scheduler = llm.llm_engine.vllm_config.scheduler_config
    out: dict[str, Any] = {
        "block_size": llm.llm_engine.vllm_config.cache_config.block_size,
        "scheduler": {
            name: getattr(scheduler, name) for name in ("max_num_batched_tokens", "enable_chunked_prefill")
        },
        "batches": {},
        "choices": {},
    }
    for name, batch in job["batches"].items():
        params = SamplingParams(
            max_tokens=batch["max_tokens"],
            temperature=0,
            ignore_eos=True,
            logprobs=0,
            prompt_logprobs=0 if batch["prompt_logprobs"] else None,
            detokenize=False,
        )
        with recorded(llm, batch["every"]) as out["choices"][name]:
            done = llm.generate(
                [{"prompt_token_ids": ids} for ids in batch["prompts"]], params, use_tqdm=False
            )
        out["batches"][name] = [request(o) for o in done]
    Path(sys.argv[1]).write_text(json.dumps(out))


if __name__ == "__main__":
    main()

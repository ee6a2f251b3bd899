"""Chooses at Full layers by kernels of our own, in place of vLLM's scores and top-k: rows of long prefills by
`index_topk`, rows of decode as fast_decode.py says.

vLLM scores a prefill in chunks of few rows, since a chunk's scores must fit its buffer. The kernel keeps no
scores, so all rows over the same keys go at once. Where it gains nothing, vLLM does the work: few rows of a
prefill, short contexts; and where rows are shared out over ranks.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from indexcache_kernels.index_topk import cuda, index_topk

from indexcache_runtime.vllm.worker.cuda import indexer_call, seam
from indexcache_runtime.vllm.worker.cuda.fast_decode import FastDecode
from indexcache_runtime.vllm.worker.failure import Failure

logger = logging.getLogger(__name__)

LEAST_ROWS = 2048
"""Rows over the same keys: fewer leave multiprocessors idle."""
LEAST_KEYS = 32_768
"""Tokens of a request's context: in shorter ones candidates and choosing outweigh what is saved."""


def available(indexer: Any, device: torch.device) -> bool:
    """Return whether the kernel runs for a layer's indexer on this device, and fits this vLLM."""
    reasons = seam.misfits(seam.imported, seam.FAST)
    for reason in reasons:
        logger.info("indexcache: no indexer Fast: %s", reason)
    return not reasons and cuda.runs(device, indexer.n_head, indexer.head_dim)


def split(chunks: Sequence[Any]) -> tuple[list[list[Any]], list[Any]]:
    """Return groups of a step's prefill chunks over the same keys, for the kernel, and what is left."""
    groups: list[list[Any]] = []
    for chunk in chunks:
        if chunk.skip_kv_gather and groups:  # it goes on over the keys of the one before
            groups[-1].append(chunk)
        else:
            groups.append([chunk])
    fast = [group for group in groups if _gains(group)]
    return fast, [chunk for group in groups if group not in fast for chunk in group]


def _gains(group: list[Any]) -> bool:
    rows = group[-1].token_end - group[0].token_start
    keys = group[0].local_total_seq_lens / group[0].num_reqs
    return bool(rows >= LEAST_ROWS and keys >= LEAST_KEYS)


class FastIndexer:
    """Chooses in one worker. Implements indexer_call.Instead."""

    def __init__(self, failure: Failure) -> None:
        self._failure = failure
        self._signature: inspect.Signature | None = None
        self._decode = FastDecode()
        self.used = False
        """Whether it may choose in the next step."""
        self.chose = False
        """Whether it chose rows in the call that was last."""

    @property
    def bytes(self) -> int:
        """Return the device memory that it holds between steps."""
        return self._decode.bytes

    def warm(self, indexer: Any, device: torch.device) -> None:
        """Have the kernels compiled, so that no request waits for them."""
        rows, keys, heads, dim = 8, 8192, indexer.n_head, indexer.head_dim
        zeros = functools.partial(torch.zeros, device=device)
        q, k = zeros((rows, heads, dim)), zeros((keys, dim))
        starts = zeros(rows, dtype=torch.int32)
        index_topk(
            q.to(torch.float8_e4m3fn),
            k.to(torch.float8_e4m3fn),
            zeros(keys),
            zeros((rows, heads)),
            starts,
            starts + keys,
            indexer.topk_tokens,
        )
        self._decode.warm(indexer, device)

    def use(self, wanted: bool) -> None:
        """Choose in the next step, or leave it to vLLM."""
        if wanted != self.used:
            self.used, self.chose = wanted, False
            if wanted:
                with self._failure.kept():
                    self._decode.prepare()
            indexer_call.choose_by(self, wanted)

    def __call__(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Choose for one layer. Whatever fails here, vLLM chooses, and it is told after the step."""
        self.chose, left = False, None
        call = self._bound(original, args, kwargs)
        with self._failure.kept():
            metadata = _own_metadata(call)
            if metadata is not None:
                fast, rest = split(metadata.prefill.chunks if metadata.prefill else ())
                decoded = self._decode.takes(call, metadata)
                for group in fast:
                    _choose(call, group)
                if decoded:
                    self._decode.choose(call, metadata)
                self.chose = bool(fast) or decoded
                left = _without(metadata, rest, decoded)
        if not self.chose:
            return original(*args, **kwargs)
        if left is None:
            return call["topk_indices_buffer"]
        with _told(call["k_cache_prefix"], left):
            return original(*args, **kwargs)

    def _bound(
        self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        if self._signature is None:
            self._signature = inspect.signature(original)
        call = self._signature.bind(*args, **kwargs)
        call.apply_defaults()
        return call.arguments


def _own_metadata(call: dict[str, Any]) -> Any:
    """Return vLLM's account of the step for this layer's indexer, if the kernels may do some of it."""
    step = _attn_metadata()
    if not isinstance(step, dict):  # vLLM tries its memory
        return None
    ours = call["skip_k_cache_insert"] and call["q_scale"] is None and call["dcp_world_size"] == 1
    metadata = step[call["k_cache_prefix"]]
    if not ours or call["candidate_blocks"] is not None:
        return None
    if metadata.prefill is not None and metadata.prefill.row_shard_sizes is not None:
        return None
    dense = step.get(call["dense_mha_metadata_layer_name"])
    if getattr(getattr(dense, "prefill", None), "use_dense_mha", False):
        return None  # nobody may read what is chosen
    return metadata


def _choose(call: dict[str, Any], group: list[Any]) -> None:
    """Choose for the rows of chunks over the same keys."""
    from vllm import _custom_ops

    first, cache, topk = group[0], call["kv_cache"], call["topk_tokens"]
    rows, keys = slice(first.token_start, group[-1].token_end), first.local_total_seq_lens
    q = call["q_quant"][rows]
    k = torch.empty((keys, q.shape[-1]), dtype=q.dtype, device=q.device)
    scale = torch.empty((keys, 4), dtype=torch.uint8, device=q.device)  # a float32 each
    _custom_ops.cp_gather_indexer_k_quant_cache(cache, k, scale, first.block_table, first.local_cu_seq_lens)
    starts, ends = (torch.cat([getattr(chunk, bound) for chunk in group]) for bound in BOUNDS)
    out = call["topk_indices_buffer"][rows, :topk]
    scales = scale.view(torch.float32).squeeze(-1)
    index_topk(q, k, scales, call["weights"][rows], starts, ends, topk, out)


BOUNDS = ("cu_seqlen_ks", "cu_seqlen_ke")
"""Of a chunk: each row's first key, and the one after its last."""


def _without(metadata: Any, rest: list[Any], decoded: bool) -> Any:
    """Return an account of the step with these chunks of prefill alone, and without its rows of decode if
    those are `decoded`; None where nothing is left."""
    left = metadata
    if not rest:
        left = replace(left, num_prefills=0, prefill=None)
    elif len(rest) < len(metadata.prefill.chunks):
        left = replace(left, prefill=replace(metadata.prefill, chunks=rest))
    if decoded:
        left = replace(left, num_decodes=0, decode=None)
    return left if left.num_prefills or left.num_decodes else None


@contextmanager
def _told(prefix: str, metadata: Any) -> Iterator[None]:
    """Let vLLM read this account of the step for a layer's indexer."""
    step = _attn_metadata()
    own, step[prefix] = step[prefix], metadata
    try:
        yield
    finally:
        step[prefix] = own


def _attn_metadata() -> Any:
    from vllm.forward_context import get_forward_context

    return get_forward_context().attn_metadata

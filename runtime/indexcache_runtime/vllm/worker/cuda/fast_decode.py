"""Chooses for rows of decode by the kernel `index_topk_decode`, scores and choice in one, in place of vLLM's
two kernels: the fast indexer's part in steps that graphs replay.

A graph captured meanwhile holds the address of the kernel's workspace. So there is one, made before the first
step that may need it, and it stays as long as the engine.
"""

import functools
from typing import Any

import torch
from indexcache_kernels.index_topk_decode import Workspace, cuda, index_topk_decode

MOST_ROWS = 32
"""Rows of decode in a step: 64 gain a hundredth at 200K tokens and lose at shorter contexts, and the
workspace would grow with them."""


class FastDecode:
    """Chooses for rows of decode in one worker."""

    def __init__(self) -> None:
        self._workspace: Workspace | None = None
        self._keys, self._device = 0, torch.device("cpu")

    @property
    def bytes(self) -> int:
        """Return the device memory that it holds."""
        return self._workspace.bytes if self._workspace is not None else 0

    def warm(self, indexer: Any, device: torch.device) -> None:
        """Have the kernels compiled for any number of rows, so that no capture has to."""
        self._keys, self._device = indexer.max_model_len, device
        page, width = indexer.k_cache.kv_cache.shape[1:]
        zeros = functools.partial(torch.zeros, device=device)
        for rows in (1, MOST_ROWS):
            q = zeros((rows, indexer.n_head, indexer.head_dim)).to(torch.float8_e4m3fn)
            cache, table = zeros((1, page, width), dtype=torch.uint8), zeros((rows, 1), dtype=torch.int32)
            weights, lengths = zeros((rows, indexer.n_head)), zeros(rows, dtype=torch.int32)
            workspace = Workspace(rows, page, device)
            index_topk_decode(q, cache, weights, lengths + page, table, indexer.topk_tokens, workspace)

    def prepare(self) -> None:
        """Take the workspace. Raises torch.OutOfMemoryError."""
        if self._workspace is None:
            self._workspace = Workspace(MOST_ROWS, self._keys, self._device)

    def takes(self, call: dict[str, Any], metadata: Any) -> bool:
        """Return whether the kernel chooses for a step's rows of decode. That is told by what a graph is
        captured for, never by contexts, which change from replay to replay."""
        rows, decode = metadata.num_decode_tokens, metadata.decode
        if not metadata.num_decodes or not 0 < rows <= MOST_ROWS or self._workspace is None:
            return False
        plain = decode.indices is None and decode.global_seq_lens is None and not decode.requires_padding
        # Each request has as many rows, as with multi-token prediction, and each row its own length.
        even = rows % decode.decode_lens.shape[0] == 0
        lengths = decode.seq_lens[: decode.decode_lens.shape[0]]
        return bool(
            plain and even and lengths.numel() == rows and cuda.takes(call["q_quant"], call["kv_cache"])
        )

    def choose(self, call: dict[str, Any], metadata: Any) -> None:
        """Choose for the step's rows of decode, which come first."""
        assert self._workspace is not None
        rows, decode, topk = metadata.num_decode_tokens, metadata.decode, call["topk_tokens"]
        requests = decode.decode_lens.shape[0]
        index_topk_decode(
            call["q_quant"][:rows],
            call["kv_cache"],
            call["weights"][:rows],
            decode.seq_lens[:requests].reshape(-1),
            decode.block_table[:requests],
            topk,
            self._workspace,
            call["topk_indices_buffer"][:rows, :topk],
        )

"""A Shared layer's forward: vLLM's for a layer without an indexer, and the indexer's key written all the same.

The key's projection is the only other index work of a Shared layer: no query projection, no quantisation, no scores, no top-k. It is the
Full layer's own product (its columns for the weights of the heads ride along), so the same hidden state gives the same key to the bit.
In small batches it runs on a stream of its own beside the projections of attention, where it takes no time of the step's.
"""

from collections.abc import Callable
from typing import Any

import torch

from indexcache_runtime.vllm.architectures.deepseek_v32.seam import ATTENTION
from indexcache_runtime.vllm.hooks import Arguments, Hook

FORKED = 256
"""Up to so many tokens the projection runs on a stream of its own; larger products fill the device anyway."""

_running: list["Shared"] = []
"""The layer whose forward is under way and hasn't come to its kernel yet: one at most, as a process runs one model at a time."""


def _with_key(original: Callable[..., Any]) -> Callable[..., Any]:
    arguments = Arguments(original)

    def fused_norm_rope(*args: Any, **kwargs: Any) -> Any:
        if not _running:
            return original(*args, **kwargs)
        changed = _running.pop().key_arguments(written=arguments.get("slot_mapping", args, kwargs) is not None)
        return original(*arguments.put(changed.items(), args, kwargs), **kwargs)

    return fused_norm_rope


NORM_ROPE = Hook(ATTENTION, "fused_norm_rope", _with_key)


class Shared:
    """One layer's forward while it is Shared."""

    def __init__(self, layer: Any, nowhere: torch.Tensor, side: Any) -> None:
        self._layer, self._nowhere, self._side = layer, nowhere, side
        self._forward = type(layer).forward.__get__(layer)
        self._projected: torch.Tensor | None = None
        self._forked = False
        self.hidden: torch.Tensor | None = None
        """The hidden states of the step under way: (tokens, hidden)."""

    def __call__(self, positions: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
        """In place of the layer's forward."""
        self._forked = hidden_states.shape[0] <= FORKED
        if self._forked:
            self._side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._side):
                self._projected = self._layer.indexer.wk_weights_proj(hidden_states)[0]
        else:
            self._projected = self._layer.indexer.wk_weights_proj(hidden_states)[0]
        self.hidden = hidden_states
        _running.append(self)
        try:
            out: torch.Tensor = self._forward(positions, hidden_states)
            return out
        finally:
            self.hidden = self._projected = None
            _running.clear()  # an error before the kernel

    @property
    def weights(self) -> torch.Tensor:
        """Unscaled weights of the indexer's heads: (tokens, heads)."""
        assert self._projected is not None
        return self._projected[:, self._layer.indexer.head_dim :]

    def key_arguments(self, *, written: bool) -> dict[str, Any]:
        """What the kernel needs to make the key, and to write it where the step has slots. It clears nobody's choice."""
        if self._forked:
            torch.cuda.current_stream().wait_stream(self._side)
        assert self._projected is not None
        indexer = self._layer.indexer
        return {
            "index_k": self._projected[:, : indexer.head_dim],
            "index_k_layer_norm_w": indexer.k_norm.weight,
            "index_k_layer_norm_bias": indexer.k_norm.bias,
            "index_k_layer_norm_eps": indexer.k_norm.eps,
            "index_k_rope_cos_sin_cache": self._layer.indexer_rope_emb.cos_sin_cache,
            "indexer_k_cache": indexer.k_cache.kv_cache if written else None,
            "indexer_cache_shuffled": indexer.k_cache.uses_shuffled_layout,
            "topk_indices_buffer": self._nowhere,
            "has_indexer": True,
        }

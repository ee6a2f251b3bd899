"""Stand-ins for a CUDA device and for vLLM's layer on it, in what the runtime touches of them."""

import contextlib
import itertools
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from indexcache_runtime.vllm.worker.cuda.site import CHOOSE

KEY, HEADS, CHOSEN, BLOCK = 16, 3, 2, 4
calls: list[dict[str, Any]] = []
"""What the kernel that writes keys was called with."""
order: list[str] = []
"""What waited for what, and attention's turn."""
context = SimpleNamespace(
    attn_metadata={}, slot_mapping={"mla": torch.arange(32), "keys": torch.arange(32) + 32}
)
launches: list[tuple[Any, ...]] = []
"""What the kernel that makes batched keys was called with."""


class FlashMLASparseImpl:
    """A layer's part of vLLM's attention backend."""

    def __init__(self, number: int) -> None:
        group = SimpleNamespace(num_layers=1, name=number, side_stream=SimpleNamespace(stream_id=number))
        self.index_group, self.index_group_index = group, 0
        self._buffer: torch.Tensor | None = None
        self._indexer: Any = None

    @property
    def topk_indices_buffer(self) -> torch.Tensor | None:
        """Return the buffer; until it is set it is the indexer's."""
        return self._buffer if self._indexer is None else self._indexer.topk_indices_buffer

    @topk_indices_buffer.setter
    def topk_indices_buffer(self, buffer: torch.Tensor) -> None:
        self._buffer, self._indexer = buffer, None


class FlashAttnMLASparseImpl(FlashMLASparseImpl):
    """The same of the backend that vLLM takes by itself."""


class Projection:
    """The indexer's first: keys, and its heads' weights. Each has a sum of its own."""

    def __init__(self) -> None:
        self.weight = torch.zeros((KEY + HEADS, KEY), dtype=torch.bfloat16)

    def __call__(self, hidden: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.cat([hidden + 1, hidden[:, :HEADS] + 2], 1), None


class DeepseekV32Attention:
    """Stands in for vLLM's attention layer: without an indexer's work where `skip_topk` says so. Layer n
    chooses the positions n and n + 1.
    """

    def __init__(self, number: int, buffer: torch.Tensor) -> None:
        self.number, self.topk_indices_buffer, self.skip_topk, self.chose = number, buffer, False, 0
        self.impl = FlashMLASparseImpl(number)
        self.rotary_emb = SimpleNamespace(cos_sin_cache=torch.zeros((9, 2)))
        self.indexer_rope_emb = SimpleNamespace(cos_sin_cache=torch.zeros((9, 4)))
        self.q_a_layernorm = SimpleNamespace(weight=torch.zeros(KEY))
        self.layer_name, self._index_rope_interleave, self._q_scale = "mla", True, torch.ones(1)
        self.cache = torch.zeros((3, BLOCK, KEY + 4), dtype=torch.uint8)
        self.indexer = SimpleNamespace(
            head_dim=KEY,
            n_head=HEADS,
            topk_tokens=CHOSEN,
            max_model_len=12,
            softmax_scale=0.5,
            k_norm=SimpleNamespace(weight=torch.ones(KEY), bias=torch.zeros(KEY), eps=1e-6),
            k_cache=SimpleNamespace(kv_cache=self.cache, uses_shuffled_layout=False, prefix="keys"),
            indexer_op=SimpleNamespace(topk_backend="auto"),
            wk_weights_proj=Projection(),
            topk_indices_buffer=buffer,
            wq_b=lambda q: (q.repeat(1, HEADS), None),
        )
        self.impl._indexer = self.indexer

    def forward(self, positions: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Compute a layer's output; the indexer's query and weights are made only where it runs."""
        full = not self.skip_topk
        q = torch.zeros((len(hidden), HEADS, KEY)).to(torch.float8_e4m3fn) if full else None
        weights = torch.ones((len(hidden), HEADS)) if full else None
        getattr(self, CHOOSE)(
            positions, hidden, None, hidden, q, None, weights, None, None, hidden, None, None
        )
        return hidden

    def _sparse_indexer_and_attn(self, positions: torch.Tensor, *args: Any) -> None:
        self.chose += 1
        order.append("attention")
        if not self.skip_topk:
            self.topk_indices_buffer[: len(positions)] = torch.tensor(
                [self.number, self.number + 1], dtype=torch.int32
            )


class Event:
    """A CUDA event: time passes by 2 ms between any two that are recorded."""

    clock = 0

    def __init__(self, enable_timing: bool = False) -> None:
        self.at = 0

    def record(self) -> None:
        Event.clock += 2
        self.at = Event.clock

    def synchronize(self) -> None: ...

    def elapsed_time(self, later: "Event") -> float:
        return later.at - self.at


def stream(name: str) -> Any:
    """Return a CUDA stream."""
    return SimpleNamespace(
        name=name, wait_stream=lambda other: order.append(f"{name} waits for {other.name}")
    )


def pretend(patch: pytest.MonkeyPatch) -> None:
    """Pretend a device, and vLLM's kernels on it: an indexer that is asked afresh chooses the positions 1 and
    2, all with the score 0.
    """
    import vllm.config  # not to be imported while torch is another's
    import vllm.utils

    calls.clear()
    order.clear()
    launches.clear()
    kernels, forward, topk, gemm = (ModuleType(name) for name in ("kernels", "forward", "topk", "gemm"))
    kernels.fused_norm_rope = lambda positions, **kwargs: calls.append({"positions": positions} | kwargs)  # type: ignore[attr-defined]

    def fused_q(p: Any, pe: Any, c: Any, q: Any, *rest: Any, **kw: Any) -> tuple[Any, Any, None]:
        return q.to(torch.float8_e4m3fn), torch.ones(q.shape[:2]), None

    kernels.fused_q = fused_q  # type: ignore[attr-defined]
    forward.get_forward_context = lambda: context  # type: ignore[attr-defined]
    topk.get_indexer_topk = lambda backend: choose  # type: ignore[attr-defined]
    gemm.get_paged_mqa_logits_metadata = lambda contexts, block, sms: ("schedule", len(contexts), block, sms)  # type: ignore[attr-defined]
    gemm.fp8_fp4_paged_mqa_logits = logits  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "vllm.models.deepseek_v32.common.kernels", kernels)
    patch.setitem(sys.modules, "vllm.forward_context", forward)
    patch.setitem(sys.modules, "vllm.model_executor.layers.indexer_topk", topk)
    patch.setattr(vllm.utils, "deep_gemm", gemm, raising=False)
    patch.setattr(torch.cuda, "Stream", lambda device, priority: stream("side"))
    patch.setattr(torch.cuda, "current_stream", lambda: stream("main"))
    patch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    patch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(multi_processor_count=132)
    )
    patch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    patch.setattr(
        "indexcache_kernels.index_keys.triton.index_keys_triton", lambda *args: launches.append(args)
    )
    patch.setattr("vllm.utils.torch_utils.weak_ref_tensor", lambda x: x.view_as(x))
    patch.setattr(torch.cuda, "Event", Event)
    ticks = itertools.count()
    patch.setattr(
        "indexcache_runtime.vllm.worker.cuda.sampled_rows.time.perf_counter", lambda: next(ticks) / 1000
    )  # a millisecond from one look to the next
    patch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    empty = torch.empty
    patch.setattr(torch, "empty", lambda *args, pin_memory=False, **kwargs: empty(*args, **kwargs))


def choose(
    scores: torch.Tensor, contexts: torch.Tensor, next_n: int, fresh: torch.Tensor, k: int, longest: int
) -> None:
    """Choose as vLLM's top-k of decode rows."""
    assert scores.shape[0] == contexts.shape[0] == fresh.shape[0]
    fresh[:] = torch.tensor([1, 2], dtype=torch.int32)


def logits(
    q: Any,
    cache: torch.Tensor,
    w: torch.Tensor,
    contexts: torch.Tensor,
    table: torch.Tensor,
    schedule: Any,
    max_model_len: int,
) -> torch.Tensor:
    """Return DeepGEMM's scores of decode rows, in the shapes that it takes."""
    rows = len(contexts)
    assert q[0].shape == (rows, 1, HEADS, KEY)
    assert q[0].dtype == torch.float8_e4m3fn
    assert (w.shape, contexts.shape, contexts.dtype) == ((rows, HEADS), (rows, 1), torch.int32)
    assert (table.shape[0], table.dtype, cache.shape) == (rows, torch.int32, (3, BLOCK, 1, KEY + 4))
    assert schedule == ("schedule", rows, BLOCK, 132)
    return torch.zeros((rows, max_model_len))

"""Lists what of vLLM's CUDA classes this architecture touches: the names and parameters that must be there.

A Shared layer runs vLLM's own forward of a layer that has no indexer (`skip_topk`); beside it, vLLM's kernel
that norms and rotates makes and writes the indexer's key, as it does in a Full layer. The indexer is called
through a name of the attention module, which is wrapped while its time is taken, and put back after.

Attention reads a leader's choice as places in the cache. Both backends that are supported convert it once for
all layers of an index group in steps that they take for decoding, where FLASH_ATTN_MLA_SPARSE asks the group
how many layers it has: in a group of one each layer converts for itself. Which steps those are is the
backend's own matter: it takes prefills of up to 128 or 256 tokens for decoding too.

The signatures were read in vLLM 0.32.0 and 0.33.0; what a later one moves or renames is refused, not guessed.
"""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from indexcache_core.supported import ATTENTION_BACKENDS

from indexcache_runtime.vllm.seam import has

ATTENTION = "vllm.models.deepseek_v32.attention"

SIGNATURES: dict[str, dict[str, tuple[str, ...]]] = {
    ATTENTION: {
        "DeepseekV32Attention.forward": ("self", "positions", "hidden_states"),
        "DeepseekV32Attention._sparse_indexer_and_attn": (
            "self", "positions", "q_c", "q_nope", "q_pe", "index_q_fp8", "index_k", "index_weights_out",
            "kv_c", "k_pe", "ql_nope", "mqa_q", "output",
        ),
    },
    "vllm.models.deepseek_v32.common.kernels": {
        "fused_norm_rope": (
            "positions", "q_c", "q_rms_norm_w", "q_rms_eps", "kv_c", "kv_rms_norm_w", "kv_rms_eps", "k_pe", "k_rope_cos_sin_cache",
            "index_k", "index_k_layer_norm_w", "index_k_layer_norm_bias", "index_k_layer_norm_eps", "index_k_rope_cos_sin_cache",
            "topk_indices_buffer", "slot_mapping", "indexer_slot_mapping", "indexer_k_cache", "indexer_cache_shuffled", "has_indexer",
            "index_rope_interleave", "q_c_out",
        ),
        "fused_q": (
            "positions", "q_pe", "q_pe_cos_sin_cache", "index_q", "index_q_cos_sin_cache", "ql_nope", "q_scale", "index_weights",
            "index_weights_softmax_scale", "index_weights_head_scale", "has_indexer", "index_rope_interleave", "quantize_mqa",
        ),
    },
    "vllm.utils.deep_gemm": {
        "fp8_fp4_paged_mqa_logits": (
            "q", "kv_cache", "weights", "context_lens", "block_tables", "schedule_metadata", "max_model_len",
        ),
        "get_paged_mqa_logits_metadata": ("context_lens", "block_size", "num_sms"),
    },
    "vllm.v1.attention.backends.mla.index_group": {
        "SparseMLAIndexGroup.set_logical_topk_ready": ("self", "layer_index"),
        "SparseMLAIndexGroup.convert_logical_to_physical_topk": (
            "self", "layer_index", "logical_topk_indices", "attn_metadata", "block_stride_rows", "return_valid_counts",
        ),
    },
    "vllm.model_executor.layers.attention.sparse_mla_attention": {
        "SparseMLACommonImpl.record_logical_topk_ready": ("self",),
        "SparseMLACommonImpl._convert_logical_to_physical_topk": (
            "self", "logical_topk_indices", "attn_metadata", "block_stride_rows", "return_valid_counts",
        ),
    },
    "vllm.model_executor.layers.indexer_topk": {"get_indexer_topk": ("backend",)},
    "vllm.utils.torch_utils": {"weak_ref_tensor": ("tensor",), "aux_stream": ()},
    "vllm.v1.worker.gpu.cudagraph_utils": {
        "ModelCudaGraphManager.capture": (
            "self", "model", "model_state", "input_buffers", "intermediate_tensors", "block_tables", "attn_groups", "kv_cache_config",
            "has_lora", "use_aux_hidden_state_outputs", "lora_capture_hook",
        ),
        "CudaGraphManager.run_fullgraph": ("self", "desc"),
    },
    "vllm.v1.worker.gpu.model_runner": {"GPUModelRunner.prepare_inputs": ("self", "scheduler_output", "batch_req_state", "batch_desc")},
    "vllm.v1.worker.gpu.dp_utils": {"dispatch_cg_and_sync_dp": ("cudagraph_manager", "need_eager")},
}  # fmt: skip
"""By module and qualified name, parameters that must be there, in this order, others between them or not."""

FAST: dict[str, dict[str, tuple[str, ...]]] = {
    ATTENTION: {
        "sparse_attn_indexer": (
            "k_cache_prefix", "kv_cache", "q_quant", "q_scale", "weights", "topk_tokens", "topk_indices_buffer", "skip_k_cache_insert",
            "dense_mha_metadata_layer_name", "dcp_world_size", "candidate_blocks",
        ),
    },
    "vllm._custom_ops": {
        "cp_gather_indexer_k_quant_cache": ("kv_cache", "dst_k", "dst_scale", "block_table", "cu_seq_lens"),
    },
    "vllm.v1.attention.backends.mla.indexer": {
        "DeepseekV32IndexerMetadata": ("num_decodes", "num_decode_tokens", "num_prefills", "decode", "prefill"),
        "DeepSeekV32IndexerDecodeMetadata": (
            "block_table", "seq_lens", "decode_lens", "requires_padding", "global_seq_lens", "indices",
        ),
        "DeepseekV32IndexerPrefillMetadata": ("chunks", "row_shard_sizes"),
        "DeepseekV32IndexerPrefillChunkMetadata": (
            "block_table", "cu_seqlen_ks", "cu_seqlen_ke", "token_start", "token_end", "num_reqs", "skip_kv_gather",
            "local_cu_seq_lens", "local_total_seq_lens",
        ),
    },
}  # fmt: skip
"""The same of what the fast indexer alone touches: without it there is no fast indexer."""

BACKENDS = dict(zip(("FlashAttnMLASparseImpl", "FlashMLASparseImpl"), ATTENTION_BACKENDS, strict=True))
"""vLLM's attention backends that are supported: by the class of a layer's `impl`, the name that
--attention-backend takes."""

LAYER = (
    "forward", "impl.topk_indices_buffer", "impl.index_group.num_layers", "impl.index_group.side_stream",
    "impl.index_group_index", "topk_indices_buffer", "rotary_emb.cos_sin_cache",
    "indexer_rope_emb.cos_sin_cache", "q_a_layernorm.weight", "_q_scale", "_index_rope_interleave", "skip_topk", "layer_name",
    "indexer.wk_weights_proj.weight", "indexer.wq_b", "indexer.k_norm.weight", "indexer.k_norm.bias", "indexer.k_norm.eps",
    "indexer.k_cache.kv_cache",
    "indexer.k_cache.prefix", "indexer.k_cache.uses_shuffled_layout", "indexer.n_head", "indexer.head_dim", "indexer.softmax_scale",
    "indexer.topk_tokens", "indexer.max_model_len", "indexer.indexer_op.topk_backend",
)  # fmt: skip
"""What is read of a layer with an indexer."""
MANAGER = ("graphs", "pool", "_capture_descs", "breakable_cg_runner", "capture")
RUNNER = ("model", "model_state", "input_buffers", "intermediate_tensors", "block_tables", "attn_groups", "kv_cache_config",
          "use_aux_hidden_state_outputs", "prepare_inputs", "execute_model_state")  # fmt: skip


def missing(layer: Any, runner: Any) -> list[str]:
    """Return what isn't there, of a layer with an indexer, of vLLM's model runner and of its graph manager,
    if it has one."""
    manager = runner.cudagraph_manager
    wanted = [(layer, LAYER), (runner, RUNNER), *([(manager, MANAGER)] if manager is not None else [])]
    return [
        f"{type(owner).__name__}.{name}" for owner, names in wanted for name in names if not has(owner, name)
    ]


def misfits(
    found: Callable[[str, str], list[str] | None],
    signatures: dict[str, dict[str, tuple[str, ...]]] = SIGNATURES,
) -> list[str]:
    """Return what of the signatures isn't so. `found`: a module's function and its parameters' names, or None
    where there is none."""
    reasons = []
    for module, functions in signatures.items():
        for name, wanted in functions.items():
            parameters = found(module, name)
            if parameters is None:
                reasons.append(f"vllm: {module} has no {name}; use a vLLM release that this runtime knows")
            elif missing := [w for w in wanted if w not in parameters]:
                reasons.append(
                    f"vllm: {module}.{name} has no parameter {', '.join(missing)}; use a vLLM release that "
                    "this runtime knows"
                )
            elif [p for p in parameters if p in wanted] != list(wanted):
                reasons.append(
                    f"vllm: {module}.{name}: its parameters' order is {', '.join(parameters)}; expected "
                    f"{', '.join(wanted)}"
                )
    return reasons


def imported(module: str, name: str) -> list[str] | None:
    """Return the parameters of a function of the vLLM in this process."""
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return list(inspect.signature(found).parameters)

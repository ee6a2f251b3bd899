"""vLLM's CPU platform without its refusal of sparse attention.

Trap: for an MLA model the built-in platform decides by the machine. Without AMX it turns off chunked prefill
and prefix caching, widens the token budget and forces KV blocks of 16, whatever was asked; with AMX it leaves
these alone and makes blocks of 128 unless told otherwise. Here all four are what was asked for, and blocks
are of BLOCK_SIZE where nothing was, on every machine; vLLM's log may still say otherwise.

Tensor parallel: each rank has some of the attention's heads, and the whole of every indexer, so all ranks
choose the same positions from the same hidden states. On a machine with fewer NUMA nodes than ranks vLLM
wants VLLM_CPU_OMP_THREADS_BIND=nobind, or a list of cores.
"""

from typing import Any

from vllm.platforms.cpu import CpuPlatform

from dsa_cpu import guard

ARCHITECTURES = frozenset({"DeepseekV32ForCausalLM", "GlmMoeDsaForCausalLM"})
BLOCK_SIZE = 16
"""Tokens a block of the KV cache, unless --block-size says otherwise."""


def is_dsa(vllm_config: Any) -> bool:
    """Return whether the configured model is one that this package serves."""
    model = vllm_config.model_config
    return model is not None and not ARCHITECTURES.isdisjoint(
        getattr(model.hf_config, "architectures", None) or ()
    )


def check_supported(vllm_config: Any) -> None:
    """Check the configuration; raise guard.Unsupported, naming the setting, for what was never written or
    tried here."""
    guard.check_version()
    parallel, cache = vllm_config.parallel_config, vllm_config.cache_config
    for name in (
        "pipeline_parallel_size",
        "data_parallel_size",
        "decode_context_parallel_size",
        "prefill_context_parallel_size",
    ):
        if (found := getattr(parallel, name)) != 1:
            raise guard.Unsupported(
                f"{name}: {found}; DSA on a CPU is split by heads alone, set it to 1 and use "
                "tensor_parallel_size"
            )
    if cache.cache_dtype not in ("auto", "float32", "bfloat16"):
        raise guard.Unsupported(
            f"kv_cache_dtype: {cache.cache_dtype}; keys are kept in the model's own dtype, set it to auto"
        )
    if vllm_config.speculative_config is not None:
        raise guard.Unsupported(
            "speculative_config: set; DSA on a CPU decodes one token a step, leave it out"
        )


class DsaCpuPlatform(CpuPlatform):  # type: ignore[misc]
    """The CPU platform; for models with DSA, with the sparse attention of this package."""

    simple_compile_backend = "eager"
    """For vLLM's helpers outside the model, such as a token's rank among log-probabilities. Inductor, the
    default, calls a C++ compiler at the first request that needs one of them, and without one the engine dies
    of that request.
    """

    @classmethod
    def get_attn_backend_cls(
        cls, selected_backend: Any, attn_selector_config: Any, num_heads: int | None = None
    ) -> str:
        """Return the attention backend's class, as a dotted name."""
        if attn_selector_config.use_mla and attn_selector_config.use_sparse:
            return "dsa_cpu.attention.TorchSparseMLABackend"
        return str(super().get_attn_backend_cls(selected_backend, attn_selector_config, num_heads))

    @classmethod
    def check_and_update_config(cls, vllm_config: Any) -> None:
        """Change the configuration in place. Raises guard.Unsupported for a DSA model under a configuration
        that can't work.
        """
        scheduler, cache, parallel = (
            vllm_config.scheduler_config,
            vllm_config.cache_config,
            vllm_config.parallel_config,
        )
        asked = (
            scheduler.enable_chunked_prefill,
            scheduler.max_num_batched_tokens,
            cache.enable_prefix_caching,
        )
        block_size = cache.block_size if cache.user_specified_block_size else BLOCK_SIZE
        executor = parallel.distributed_executor_backend
        super().check_and_update_config(vllm_config)
        if not is_dsa(vllm_config):
            return
        check_supported(vllm_config)
        scheduler.enable_chunked_prefill, scheduler.max_num_batched_tokens, cache.enable_prefix_caching = (
            asked
        )
        cache.block_size = block_size
        if executor == "uni":  # else rewritten to "mp": one more process of 1 GB
            parallel.distributed_executor_backend = executor
        # The C++ rotary kernel for CPUs silently mis-rotates MLA's (tokens, heads, rope) queries; torch's own
        # is right.
        custom_ops = vllm_config.compilation_config.custom_ops
        if "-rotary_embedding" not in custom_ops:
            custom_ops.append("-rotary_embedding")

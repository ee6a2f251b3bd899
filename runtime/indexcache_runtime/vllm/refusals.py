"""Why an engine can't switch reuse, read off vLLM's configuration. Pure: asks nothing of a device or a model.

Each reason names the setting, what was found, what was expected and what to do.
"""

import os
from collections.abc import Mapping
from typing import Any

from indexcache_core.compat import CACHE_TYPES

SERIES = {"cpu": ("0.32",), "cuda": ("0.32", "0.33")}
"""By platform, the vLLM releases whose scheduler, workers, models and block hashes were read and tested."""


SINGLE = (
    ("pipeline_parallel_size", "--pipeline-parallel-size", "each stage has sets of its own, which its first indexer must choose"),
    ("data_parallel_size", "--data-parallel-size", "control reaches one engine core"),
    ("decode_context_parallel_size", "--decode-context-parallel-size", "a set is split over ranks"),
    ("prefill_context_parallel_size", "--prefill-context-parallel-size", "a set is split over ranks"),
    ("nnodes", "--nnodes", "workers of other nodes were never tried"),
    ("_api_process_count", "--api-server-count", "vLLM merges the metrics of several servers without those of reuse"),
)
"""Fields of a ParallelConfig, their flags, and why they must be 1."""
OFFLOADED = (("uva", "cpu_offload_gb", "--cpu-offload-gb"), ("prefetch", "offload_group_size", "--offload-group-size"))
"""Parts and fields of an OffloadConfig, and their flags."""
RUST_FRONTEND = "VLLM_USE_RUST_FRONTEND"


def of_version(version: str, platform: str) -> list[str]:
    """Reasons against a vLLM version on a platform ("cpu", "cuda", ...)."""
    if platform not in SERIES:
        return [f"platform: {platform}; only {', '.join(sorted(SERIES))} are supported"]
    known = SERIES[platform]
    if ".".join(version.split("+")[0].split(".")[:2]) in known:
        return []
    return [f"vllm: version {version}; on {platform} only {', '.join(s + '.*' for s in known)} is supported, use such an image"]


def of_config(config: Any, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Reasons against a VllmConfig in a process with this environment."""
    reasons = []
    hf = config.model_config.hf_text_config
    if not hasattr(hf, "index_topk"):
        reasons.append(f"model: {', '.join(config.model_config.architectures)} has no index_topk; reuse needs DeepSeek Sparse Attention")
    for field in ("index_topk_freq", "index_topk_pattern"):
        value = getattr(hf, field, None)
        if value not in (None, 1) and set(str(value)) != {"F"}:
            reasons.append(f"model: {field}={value!r}; layers without an indexer of their own can't become Full, remove the override")
    parallel = config.parallel_config
    for field, flag, why in SINGLE:
        if (found := getattr(parallel, field, 1)) > 1:
            reasons.append(f"{flag}: {found}; only 1 is supported: {why}")
    if config.speculative_config is not None:
        reasons.append("--speculative-config: set; draft tokens and MTP layers are not supported, remove it")
    if config.kv_transfer_config is not None:
        reasons.append("--kv-transfer-config: set; KV computed under reuse must not leave the engine, remove it")
    if getattr(config, "ec_transfer_config", None) is not None:
        reasons.append("--ec-transfer-config: set; not supported, remove it")
    if getattr(config.model_config, "enable_sleep_mode", False):
        reasons.append("--enable-sleep-mode: set; waking up would lose the sites' state, remove it")
    if getattr(parallel, "enable_dbo", False) or getattr(parallel, "use_ubatching", False):
        reasons.append("--enable-dbo: set; micro-batches would read one another's chosen positions, remove it")
    if getattr(getattr(config, "attention_config", None), "hisparse_config", None) is not None:
        reasons.append("--attention-config hisparse_config: set; its caches are bound to leaders at start-up, remove it")
    offload = getattr(config, "offload_config", None)
    for part, field, flag in OFFLOADED:
        if found := getattr(getattr(offload, part, None), field, 0):
            reasons.append(f"{flag}: {found}; weights that are not on the device all the time were never tried, remove it")
    if getattr(config, "lora_config", None) is not None:
        reasons.append("--enable-lora: set; what was measured and probed on one adapter says nothing of another, remove it")
    if (cache := str(config.cache_config.cache_dtype)) not in CACHE_TYPES:
        reasons.append(f"--kv-cache-dtype: {cache}; only the model's own type is supported")
    if (executor := parallel.distributed_executor_backend) not in ("uni", "mp", None):
        reasons.append(f"--distributed-executor-backend: {executor}; only uni and mp are supported")
    if environment.get(RUST_FRONTEND, "0") not in ("", "0"):
        reasons.append(f"{RUST_FRONTEND}: set; that server loads no Python plugins and so shows no metrics of reuse, remove it")
    return reasons

"""Lists what of vLLM's engine core and its workers the runtime leans on: the names, and how they are called.

Most of them are no interface that vLLM promises. So they are compared with the vLLM in this process before an
engine is taken charge of, and what differs is a reason why it isn't supported. What only CUDA's adapter leans
on stands in worker/cuda/seam.py; what the CPU's does, in worker/deepseek_v32_generic.py.

The signatures were read in vLLM 0.32.0 and 0.33.0.
"""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

REST = "..."
"""Stands for parameters that may follow, which a call needn't give."""

SIGNATURES: dict[str, dict[str, tuple[str, ...]]] = {
    "vllm.v1.engine.core": {
        "EngineCore.__init__": ("self", "vllm_config", "executor_class", "log_stats", REST),
        "EngineCore.collective_rpc": ("self", "method", REST),
        "EngineCore.preprocess_add_request": ("self", "request"),
        "EngineCoreProc.run_busy_loop": ("self",),
        "DPEngineCoreProc.run_busy_loop": ("self",),
        "get_request_block_hasher": ("hash_block_size", "caching_hash_fn", REST),
    },
    "vllm.v1.core.sched.scheduler": {
        "Scheduler.schedule": ("self", REST),
        "Scheduler.update_from_output": ("self", "scheduler_output", "model_runner_output"),
        "Scheduler._preempt_request": ("self", "request", "timestamp", REST),
    },
    "vllm.v1.core.kv_cache_manager": {
        "KVCacheManager.get_computed_blocks": ("self", "request", REST),
        "KVCacheManager.record_prefix_cache_stats": ("self", "request", "num_hits"),
    },
    "vllm.v1.request": {
        "Request": ("request_id", "prompt_token_ids", "sampling_params", "pooling_params", REST),
        "Request.update_block_hashes": ("self",),
    },
    "vllm.v1.outputs": {"AsyncModelRunnerOutput.get_output": ("self",)},
    "vllm.v1.worker.worker_base": {
        "WorkerBase.execute_model": ("self", "scheduler_output"),
        "WorkerBase.sample_tokens": ("self", "grammar_output"),
        "WorkerWrapperBase.execute_model": ("self", "scheduler_output"),
    },
}
"""By module and qualified name, the parameters, all of them and in this order. Where ours stands in for
vLLM's with parameters of its own, there may be no other; else REST says that more may follow.
"""

CORE = (
    "vllm_config.model_config.architectures", "vllm_config.model_config.hf_text_config",
    "scheduler.requests", "scheduler.running", "scheduler.prev_step_scheduled_req_ids", "scheduler.hash_block_size",
    "scheduler.schedule", "scheduler.update_from_output", "scheduler._preempt_request", "scheduler.kv_cache_manager",
    "scheduler.kv_cache_manager.get_computed_blocks", "scheduler.kv_cache_manager.record_prefix_cache_stats",
    "request_block_hasher", "collective_rpc",
)  # fmt: skip
"""What is read of an engine core that stands."""
REQUEST = (
    "request_id",
    "sampling_params",
    "max_tokens",
    "num_prompt_tokens",
    "num_computed_tokens",
    "block_hashes",
    "_block_hasher",
)
"""What is read of a request."""
OUTPUT = ("scheduled_new_reqs", "num_scheduled_tokens", "total_num_scheduled_tokens", "finished_req_ids")
"""What is read of a scheduler's output."""
WORKER = (
    "vllm_config.model_config.architectures",
    "worker.model_runner.get_model",
    "execute_model",
    "sample_tokens",
)
"""What is read of vLLM's wrapper around a worker."""

ADVICE = "use a vLLM release that this runtime knows"
Found = Callable[[str, str], inspect.Signature | None]
"""The signature of a module's function or class; None where there is none."""


def misfits(found: Found) -> list[str]:
    """Return what of SIGNATURES isn't so, each by its name."""
    return [
        reason
        for module, functions in SIGNATURES.items()
        for name, wanted in functions.items()
        if (reason := _misfit(f"{module}.{name}", wanted, found(module, name))) is not None
    ]


def _misfit(name: str, wanted: tuple[str, ...], found: inspect.Signature | None) -> str | None:
    if found is None:
        return f"vllm: there is no {name}; {ADVICE}"
    more = wanted[-1:] == (REST,)
    first = wanted[:-1] if more else wanted
    parameters = list(found.parameters.values())
    here = [p.name for p in parameters]
    rest = parameters[len(first) :]
    if here[: len(first)] == list(first) and (not rest or (more and not any(_is_needed(p) for p in rest))):
        return None
    return (
        f"vllm: {name} has the parameters {', '.join(here) or 'none'}; expected {', '.join(wanted)}; {ADVICE}"
    )


def _is_needed(parameter: inspect.Parameter) -> bool:
    may_be_left_out = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and not may_be_left_out


def imported(module: str, name: str) -> inspect.Signature | None:
    """Return a signature of the vLLM in this process."""
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        return inspect.signature(found)
    except (ImportError, AttributeError, TypeError, ValueError):
        return None


def missing(owner: Any, names: tuple[str, ...], called: str) -> list[str]:
    """Return which of these attributes an object hasn't. `called`: what the object is."""
    return [f"vllm: {called} has no {name}; {ADVICE}" for name in names if not has(owner, name)]


def has(owner: Any, name: str) -> bool:
    """Return whether an object has an attribute, which has another, and so on: "a.b.c"."""
    for part in name.split("."):
        if not hasattr(owner, part):
            return False
        owner = getattr(owner, part)
    return True


def of_requests() -> list[str]:
    """Return what isn't so of a request and of a scheduler's output, of which one each is made and looked
    at.
    """
    from vllm.sampling_params import SamplingParams
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.request import Request

    name = b"a block's name"
    try:
        request = Request(
            "indexcache", [0], SamplingParams(max_tokens=1), None, block_hasher=lambda request: [name]
        )
        output = SchedulerOutput.make_empty()
    except (AttributeError, TypeError, ValueError) as e:
        return [f"vllm: a request or an output can't be made: {e}; {ADVICE}"]
    reasons = missing(request, REQUEST, "Request") + missing(output, OUTPUT, "SchedulerOutput")
    if not reasons and list(request.block_hashes) != [name]:
        reasons.append(f"vllm: Request.block_hashes doesn't hold what its hasher returns; {ADVICE}")
    return reasons

"""Print how vLLM configures an engine, on a CPU with AMX and on one without, as a JSON object.

    python -m tests.engine.platform_config MODEL

A process of its own: vLLM's platform writes into the environment, and plugins are loaded once a process.
Whether the CPU has AMX is what vLLM asks torch; here torch answers as told.
out: {"amx"|"plain": {"default"|"16"|"128": {field: value}}}.
"""

import json
import sys
from functools import partial
from typing import Any

import torch


def configured(model: str, **arguments: Any) -> dict[str, Any]:
    """Make the configuration of an engine, and return what a platform may change of it."""
    from vllm.engine.arg_utils import EngineArgs

    given = {
        "dtype": "float32",
        "max_model_len": 1088,
        "max_num_batched_tokens": 160,
        "enable_prefix_caching": True,
    }
    config = EngineArgs(model, **given, skip_tokenizer_init=True, **arguments).create_engine_config()
    return {
        "block_size": config.cache_config.block_size,
        "enable_prefix_caching": config.cache_config.enable_prefix_caching,
        "enable_chunked_prefill": config.scheduler_config.enable_chunked_prefill,
        "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
    }


def main() -> None:
    """Configure an engine without a block size, and with each of two."""
    asked: dict[str, dict[str, int]] = {"default": {}, "16": {"block_size": 16}, "128": {"block_size": 128}}
    out: dict[str, Any] = {}
    for name, answer in (("amx", True), ("plain", False)):
        torch.cpu._is_amx_tile_supported = partial(bool, answer)
        out[name] = {which: configured(sys.argv[1], **arguments) for which, arguments in asked.items()}
    print(json.dumps(out))


if __name__ == "__main__":
    main()

"""That each refusal reads a field that vLLM has: set on the configuration of a real engine, it is named, alone."""

from typing import Any

import pytest
from indexcache_runtime.vllm.refusals import OFFLOADED, SINGLE, of_config

from tests.conformance.engine import Engine

pytestmark = pytest.mark.engine

SETTINGS: list[tuple[str, Any, str]] = [
    *((f"parallel_config.{field}", 2, flag) for field, flag, _ in SINGLE),
    ("parallel_config.enable_dbo", True, "--enable-dbo"),
    ("parallel_config.ubatch_size", 2, "--enable-dbo"),
    ("parallel_config.distributed_executor_backend", "ray", "--distributed-executor-backend"),
    ("attention_config.hisparse_config", object(), "hisparse_config"),
    *((f"offload_config.{part}.{field}", 2, flag) for part, field, flag in OFFLOADED),
    ("cache_config.cache_dtype", "fp8", "--kv-cache-dtype"),
    ("model_config.enable_sleep_mode", True, "--enable-sleep-mode"),
    ("lora_config", object(), "--enable-lora"),
    ("speculative_config", object(), "--speculative-config"),
    ("kv_transfer_config", object(), "--kv-transfer-config"),
    ("ec_transfer_config", object(), "--ec-transfer-config"),
]


@pytest.mark.parametrize(("path", "value", "named"), SETTINGS, ids=[path for path, _, _ in SETTINGS])
def test_a_setting_is_refused_by_name(engine: Engine, monkeypatch: pytest.MonkeyPatch, path: str, value: Any, named: str) -> None:
    config = engine.core.vllm_config
    assert of_config(config) == []
    *parents, field = path.split(".")
    owner = config
    for parent in parents:
        owner = getattr(owner, parent)
    monkeypatch.setattr(owner, field, value)  # fails where there is no such field
    (reason,) = of_config(config)
    assert named in reason


def test_the_servers_switch_is_vllms(engine: Engine) -> None:
    from vllm import envs

    assert "VLLM_USE_RUST_FRONTEND" in envs.environment_variables
    (reason,) = of_config(engine.core.vllm_config, {"VLLM_USE_RUST_FRONTEND": "1"})
    assert "VLLM_USE_RUST_FRONTEND" in reason

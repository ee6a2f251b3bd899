"""Reasons against a configuration, each by the name of its setting."""

from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_runtime.vllm.engine_core.refusals import of_config, of_version


def config(**changes: Any) -> Any:
    """Return a VllmConfig in what matters here; "a.b" sets an attribute of an attribute."""
    c = SimpleNamespace(
        model_config=SimpleNamespace(
            hf_text_config=SimpleNamespace(index_topk=64),
            architectures=["DeepseekV32ForCausalLM"],
            enable_sleep_mode=False,
        ),
        parallel_config=SimpleNamespace(
            pipeline_parallel_size=1,
            data_parallel_size=1,
            decode_context_parallel_size=1,
            prefill_context_parallel_size=1,
            tensor_parallel_size=1,
            _api_process_count=1,
            distributed_executor_backend="uni",
        ),
        cache_config=SimpleNamespace(cache_dtype="auto"),
        attention_config=SimpleNamespace(hisparse_config=None),
        speculative_config=None,
        kv_transfer_config=None,
        ec_transfer_config=None,
    )
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = c
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, last, value)
    return c


def test_a_plain_dsa_engine_is_supported() -> None:
    assert of_config(config()) == []
    assert of_config(config(parallel_config__tensor_parallel_size=2)) == []
    assert (
        of_config(config(model_config__hf_text_config=SimpleNamespace(index_topk=64, index_topk_freq=1)))
        == []
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_config__hf_text_config": SimpleNamespace()}, "index_topk"),
        (
            {"model_config__hf_text_config": SimpleNamespace(index_topk=64, index_topk_freq=4)},
            "index_topk_freq",
        ),
        (
            {"model_config__hf_text_config": SimpleNamespace(index_topk=64, index_topk_pattern="FSFS")},
            "index_topk_pattern",
        ),
        ({"parallel_config__pipeline_parallel_size": 2}, "--pipeline-parallel-size"),
        ({"parallel_config__data_parallel_size": 2}, "--data-parallel-size"),
        ({"parallel_config__decode_context_parallel_size": 2}, "--decode-context-parallel-size"),
        ({"parallel_config__prefill_context_parallel_size": 2}, "--prefill-context-parallel-size"),
        ({"parallel_config___api_process_count": 2}, "--api-server-count"),
        ({"parallel_config__distributed_executor_backend": "ray"}, "--distributed-executor-backend"),
        ({"parallel_config__nnodes": 2}, "--nnodes"),
        ({"parallel_config__enable_dbo": True}, "--enable-dbo"),
        ({"offload_config": SimpleNamespace(uva=SimpleNamespace(cpu_offload_gb=4.0))}, "--cpu-offload-gb"),
        (
            {"offload_config": SimpleNamespace(prefetch=SimpleNamespace(offload_group_size=8))},
            "--offload-group-size",
        ),
        ({"parallel_config__ubatch_size": 2}, "--ubatch-size"),
        ({"attention_config__hisparse_config": object()}, "hisparse_config"),
        ({"lora_config": object()}, "--enable-lora"),
        ({"speculative_config": object()}, "--speculative-config"),
        ({"kv_transfer_config": object()}, "--kv-transfer-config"),
        ({"cache_config__kv_offloading_size": 4.0}, "--kv-offloading-size"),
        (
            {
                "model_config__hf_text_config": SimpleNamespace(
                    index_topk=64, indexer_types=["full", "shared"]
                )
            },
            "indexer_types",
        ),
        ({"ec_transfer_config": object()}, "--ec-transfer-config"),
        ({"model_config__enable_sleep_mode": True}, "--enable-sleep-mode"),
        ({"cache_config__cache_dtype": "fp8_ds_mla"}, "--kv-cache-dtype"),
        ({"cache_config__cache_dtype": "nvfp4_ds_mla"}, "--kv-cache-dtype"),
    ],
)
def test_what_is_not_supported_is_named(change: dict[str, Any], named: str) -> None:
    (reason,) = of_config(config(**change))
    assert named in reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"parallel_config__pipeline_parallel_size": 2},
            "--pipeline-parallel-size: found 2; expected 1, because ",
        ),
        (
            {"parallel_config__distributed_executor_backend": SimpleNamespace},
            "--distributed-executor-backend: found set; expected uni or mp",
        ),
        ({"parallel_config__enable_dbo": True}, "--enable-dbo: found set; expected unset, because "),
        (
            {"offload_config": SimpleNamespace(uva=SimpleNamespace(cpu_offload_gb=4.5))},
            "--cpu-offload-gb: found 4.5; expected 0, because ",
        ),
        (
            {"cache_config__cache_dtype": "fp8"},
            "--kv-cache-dtype: found fp8; expected auto or bfloat16 or float16, because ",
        ),
    ],
)
def test_a_reason_says_what_was_found_and_what_was_expected(change: dict[str, Any], reason: str) -> None:
    (found,) = of_config(config(**change))
    assert found.startswith(reason)
    assert found.endswith("; remove it")


@pytest.mark.parametrize(
    "change",
    [
        {"parallel_config__distributed_executor_backend": None},
        {"parallel_config__distributed_executor_backend": "mp"},
        {"parallel_config__ubatch_size": 1},
        {"parallel_config__enable_dbo": False},
        {"offload_config": SimpleNamespace(uva=SimpleNamespace(cpu_offload_gb=0.0), prefetch=None)},
        {"cache_config__cache_dtype": "bfloat16"},
        {"attention_config": None},
    ],
)
def test_what_is_not_set_or_allowed_is_no_reason(change: dict[str, Any]) -> None:
    assert of_config(config(**change)) == []


@pytest.mark.parametrize(("value", "refused"), [("1", True), ("0", False), ("", False)])
def test_the_server_that_loads_no_plugins(value: str, refused: bool) -> None:
    reasons = of_config(config(), {"VLLM_USE_RUST_FRONTEND": value})
    assert [r.split(":")[0] for r in reasons] == ["VLLM_USE_RUST_FRONTEND"] * refused


@pytest.mark.parametrize("platform", ["rocm", "xpu", "tpu"])
def test_other_platforms(platform: str) -> None:
    (reason,) = of_version("0.33.0", platform)
    assert reason.startswith(f"platform: found {platform}; expected cpu or cuda")


def test_versions() -> None:
    assert of_version("0.32.0", "cpu") == of_version("0.32.1+cpu", "cpu") == of_version("0.32", "cpu") == []
    assert of_version("0.32.0", "cuda") == of_version("0.33.0+cu130", "cuda") == []
    for other, platform in (
        ("0.31.9", "cpu"),
        ("0.33.0", "cpu"),
        ("0.320.0", "cpu"),
        ("1.0", "cuda"),
        ("0.34.0", "cuda"),
        ("0.31.0", "cuda"),
    ):
        (reason,) = of_version(other, platform)
        assert other in reason

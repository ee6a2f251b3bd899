"""The CPU that the engine tests run on, for the head of their output: vLLM picks kernels by it."""

import os
from pathlib import Path

FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")
"""Flags of /proc/cpuinfo by which vLLM and torch choose code."""


def describe(cpuinfo: str, cores: int) -> str:
    """Describe a CPU in one line: its model, the cores there are to use, and which of FEATURES it has.

    Args:
        cpuinfo: the text of /proc/cpuinfo, of which the first processor counts.
        cores: how many cores this process may use.
    """
    pairs = [line.partition(":") for line in reversed(cpuinfo.splitlines())]
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    flags = fields.get("flags", "").split()
    features = ", ".join(f"{name} {'yes' if name in flags else 'no'}" for name in FEATURES)
    return f"CPU: {fields.get('model name', 'unknown')}, {cores} cores; {features}"


def header() -> str:
    """Describe this machine's CPU."""
    return describe(Path("/proc/cpuinfo").read_text(), len(os.sched_getaffinity(0)))

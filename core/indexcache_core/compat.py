"""Whether a model, an engine and its arguments can carry IndexCache: a config in, reasons against it out.

Pure, so that the operator can ask before a pod exists, and the engine asks the same thing when it loads. What only a loaded engine can tell
(patched functions, a platform's kernels) it reports itself in State.supported.

What is supported is data, in the tables below. Native sharing (`index_topk_freq`, `index_topk_pattern`) is refused because there the
Shared layers have no indexer weights and no warm key cache: nothing could be measured, and nothing could be turned back on.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """What is read from the config of one model class."""

    indexers: str
    """The field that holds the number of indexer sites."""


@dataclass(frozen=True)
class Version:
    """A release series of an engine whose code the runtime knows."""

    series: tuple[int, int]
    platforms: tuple[str, ...]
    """Where the runtime can work on it."""


ARCHITECTURES: dict[str, Architecture] = {
    "DeepseekV32ForCausalLM": Architecture(indexers="num_hidden_layers"),
    "GlmMoeDsaForCausalLM": Architecture(indexers="num_hidden_layers"),
}

VERSIONS: dict[str, tuple[Version, ...]] = {
    "vllm": (Version(series=(0, 32), platforms=("cpu", "cuda")), Version(series=(0, 33), platforms=("cuda",))),
}


@dataclass(frozen=True)
class Flag:
    """An argument of the engine's server that can't go with IndexCache now."""

    names: tuple[str, ...]
    why: str
    allowed: tuple[str, ...] = ()
    """Values that say the same as leaving it away."""


CACHE_TYPES = ("auto", "bfloat16", "float16")
"""Types of a KV cache that are the model's own."""

ATTENTION_BACKENDS = ("FLASH_ATTN_MLA_SPARSE", "FLASHMLA_SPARSE")
"""Attention backends on CUDA; vLLM takes one of them by itself, the first where it can."""

FLAGS = (
    Flag(("--pipeline-parallel-size", "-pp"), "a pattern across pipeline stages isn't supported", ("1",)),
    Flag(("--data-parallel-size", "-dp"), "several engine cores behind one server aren't supported", ("1",)),
    Flag(("--api-server-count", "-asc"), "vLLM merges the metrics of several servers without those of reuse", ("1",)),
    Flag(("--speculative-config", "-sc", "--speculative_config"), "a draft model's indexers aren't known"),
    Flag(("--kv-transfer-config",), "KV made under reuse must not reach other engines"),
    Flag(("--decode-context-parallel-size", "-dcp"), "an index set split over ranks isn't supported", ("1",)),
    Flag(("--prefill-context-parallel-size", "-pcp"), "an index set split over ranks isn't supported", ("1",)),
    Flag(("--nnodes", "-n"), "workers of other nodes were never tried", ("1",)),
    Flag(("--enable-dbo",), "micro-batches share one buffer of index sets"),
    Flag(("--ubatch-size",), "micro-batches share one buffer of index sets", ("0", "1")),
    Flag(("--kv-offloading-size",), "KV made under reuse must not leave the engine"),
    Flag(("--cpu-offload-gb",), "weights that are not on the device all the time were never tried", ("0",)),
    Flag(("--offload-group-size",), "weights that are not on the device all the time were never tried", ("0",)),
    Flag(("--ec-transfer-config",), "an engine that shares its encoder's work was never tried"),
    Flag(("--enable-sleep-mode",), "waking up would lose the sites' state"),
    Flag(("--kv-cache-dtype",), "keys and values of another type than the model's were never tried", CACHE_TYPES),
    Flag(("--attention-backend",), "another backend's way to read an indexer's choice was never tried", ATTENTION_BACKENDS),
    Flag(("--enable-lora",), "what was measured and probed on one adapter says nothing of another"),
)


def _arguments(args: Sequence[str]) -> dict[str, str | None]:
    """Options and their values: `--a=b`, `--a b`, `--a`; underscores and dashes in names are the same to vLLM."""
    out: dict[str, str | None] = {}
    for i, arg in enumerate(args):
        if not arg.startswith("-"):
            continue
        name, found, value = arg.partition("=")
        following = args[i + 1] if i + 1 < len(args) else None
        name = name if not name.startswith("--") else "--" + name[2:].replace("_", "-")
        # `--speculative-config.model x`: a field of the option.
        out[name.split(".")[0]] = value if found else following if following and not following.startswith("-") else None
    return out


def argument_reasons(args: Sequence[str]) -> list[str]:
    """Reasons against arguments of the engine's server, without the field that they come from; none if they can go with IndexCache."""
    given = _arguments(args)
    reasons = []
    for flag in FLAGS:
        name = next((n for n in flag.names if n in given), None)
        if name is not None and (given[name] not in flag.allowed):
            shown = name if given[name] is None else f"{name} {given[name]}"
            reasons.append(f"{shown}: {flag.why}; remove it")
    return reasons


def version_reasons(engine: str, version: str) -> list[str]:
    """Reasons against an engine's version, as it reports it ("0.32.0+cpu"); its platform it checks itself."""
    known = VERSIONS.get(engine)
    if known is None:
        return [f"engine: {engine!r} is unknown; supported are {', '.join(sorted(VERSIONS))}"]
    match = re.match(r"v?(\d+)\.(\d+)", version)
    series = (int(match[1]), int(match[2])) if match else None
    if series not in {v.series for v in known}:
        expected = ", ".join(f"{v.series[0]}.{v.series[1]} ({'/'.join(v.platforms)})" for v in known)
        return [f"engine: {engine} {version or 'of an unknown version'}; supported are {expected}. Use an image of one of these"]
    return []


def indexers(config: Mapping[str, Any]) -> int | None:
    """Number of indexer sites of a model with this config.json, in whose order a pattern has its letters; None if it isn't known."""
    architecture = ARCHITECTURES.get(_architecture(config))
    number = config.get(architecture.indexers) if architecture else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else None


def model_reasons(config: Mapping[str, Any]) -> list[str]:
    """Reasons against a model by its config.json; none if it has an indexer in every layer and the runtime knows its class."""
    name = _architecture(config)
    if name not in ARCHITECTURES:
        if config.get("index_topk") is None:
            return [f"model: {name or 'no architecture named'}, without index_topk: it has no DSA indexers, so there is nothing to reuse"]
        return [f"model: {name} isn't supported; supported are {', '.join(sorted(ARCHITECTURES))}"]
    reasons = []
    topk = config.get("index_topk")
    if not isinstance(topk, int) or isinstance(topk, bool) or topk <= 0:
        reasons.append(f"model: index_topk is {topk!r}, expected how many tokens an indexer chooses; this checkpoint isn't a DSA model")
    if indexers(config) is None:
        field = ARCHITECTURES[name].indexers
        reasons.append(f"model: {field} is {config.get(field)!r}, expected the number of layers")
    frequency = config.get("index_topk_freq")
    if frequency not in (None, 1):
        reasons.append(
            f"model: index_topk_freq is {frequency}: it shares natively, its Shared layers have no indexers; use a model without it"
        )
    pattern = config.get("index_topk_pattern")
    if pattern is not None and "S" in str(pattern).upper():
        reasons.append("model: index_topk_pattern is set: it shares natively, its Shared layers have no indexers; use a model without it")
    types = config.get("indexer_types")
    if isinstance(types, Sequence) and not isinstance(types, str) and any(t != "full" for t in types):
        reasons.append("model: indexer_types names layers that aren't full: they have no indexer weights; use a model with all of them")
    return reasons


def _architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, Sequence) and not isinstance(names, str) and names else ""

"""Says whether a model and an engine's arguments can carry IndexCache: a config in, reasons against it out.

Pure, so that the operator can ask before a pod exists, and the engine asks the same thing when it loads. What
only a loaded engine can tell (patched functions, a platform's kernels) it reports itself in State.supported.
Settings that are refused stand in refusals.py, versions in supported.py.

Native sharing (`index_topk_freq`, `index_topk_pattern`, `indexer_types`) is refused because there the Shared
layers have no indexer weights and no warm key cache: nothing could be measured, and nothing could be turned
back on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from indexcache_core import arguments
from indexcache_core.refusals import REFUSALS


@dataclass(frozen=True)
class Architecture:
    """Says what is read from the config of one model class."""

    indexers: str
    """The field that holds the number of indexer sites."""


ARCHITECTURES: dict[str, Architecture] = {
    "DeepseekV32ForCausalLM": Architecture(indexers="num_hidden_layers"),
    "GlmMoeDsaForCausalLM": Architecture(indexers="num_hidden_layers"),
}

NATIVE_SHARING = ("index_topk_freq", "index_topk_pattern", "indexer_types")
"""Fields of a model's config by which it shares natively."""


def argument_reasons(args: Sequence[str]) -> list[str]:
    """Return reasons against arguments of the engine's server, without the field that they come from; none if
    they go with IndexCache.
    """
    options = arguments.parse(args)
    reasons = []
    for refusal in REFUSALS:
        for setting in refusal.settings:
            option = arguments.last(options, setting.name, *setting.short) if setting.is_argument else None
            if option is not None and option.value not in setting.allowed:
                reasons.append(setting.reason(refusal.why, option.value, option.name))
    return reasons


def indexers(config: Mapping[str, Any]) -> int | None:
    """Return how many indexer sites a model with this config.json has, in whose order a pattern has its
    letters; None if it isn't known.
    """
    architecture = ARCHITECTURES.get(_architecture(config))
    number = config.get(architecture.indexers) if architecture else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else None


def model_reasons(config: Mapping[str, Any]) -> list[str]:
    """Return the reasons against a model by its config.json; none if it has an indexer in every layer and the
    runtime knows its class.
    """
    name = _architecture(config)
    if name not in ARCHITECTURES:
        if config.get("index_topk") is None:
            return [
                f"model: {name or 'no architecture named'}, without index_topk: it has no DSA indexers, so "
                "there is nothing to reuse"
            ]
        return [f"model: {name} isn't supported; supported are {', '.join(sorted(ARCHITECTURES))}"]
    reasons = []
    topk = config.get("index_topk")
    if not isinstance(topk, int) or isinstance(topk, bool) or topk <= 0:
        reasons.append(
            f"model: index_topk is {topk!r}, expected how many tokens an indexer chooses; this checkpoint "
            "isn't a DSA model"
        )
    if indexers(config) is None:
        field = ARCHITECTURES[name].indexers
        reasons.append(f"model: {field} is {config.get(field)!r}, expected the number of layers")
    return reasons + native_sharing_reasons(config)


def native_sharing_reasons(config: Mapping[str, Any]) -> list[str]:
    """Return reasons against a model whose Shared layers have no indexers, by the fields NATIVE_SHARING of
    its config; none for another.
    """
    without = "its Shared layers would have no indexers; use a model, or a configuration, without it"
    reasons = []
    frequency = config.get("index_topk_freq")
    if frequency not in (None, 1):
        reasons.append(f"model: index_topk_freq: found {frequency}; expected 1 or unset, because {without}")
    pattern = config.get("index_topk_pattern")
    if pattern is not None and set(str(pattern).upper()) != {"F"}:
        reasons.append(
            f"model: index_topk_pattern: found {pattern}; expected F alone or unset, because {without}"
        )
    types = config.get("indexer_types")
    if isinstance(types, Sequence) and not isinstance(types, str) and any(t != "full" for t in types):
        others = ", ".join(sorted({str(t) for t in types} - {"full"}))
        reasons.append(f"model: indexer_types: found {others}; expected full alone, because {without}")
    return reasons


def _architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, Sequence) and not isinstance(names, str) and names else ""

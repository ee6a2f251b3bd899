"""Says why an engine can't switch reuse, read off vLLM's configuration. Pure: asks nothing of a device or a
model.

What is refused stands in core (indexcache_core/refusals.py, supported.py); here is how it shows in a
VllmConfig. Each reason names the setting, what was found, what was expected and what to do.
"""

import os
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from indexcache_core import compat
from indexcache_core.refusals import REFUSALS, Setting
from indexcache_core.supported import PLATFORMS, VERSIONS, named, series_of


def of_version(version: str, platform: str) -> list[str]:
    """Return reasons against a vLLM version on a platform ("cpu", "cuda", ...)."""
    if platform not in VERSIONS:
        return [
            f"platform: found {platform}; expected {' or '.join(PLATFORMS)}; use an engine for one of these"
        ]
    if series_of(version) in VERSIONS[platform]:
        return []
    expected = " or ".join(f"{named(series)}.*" for series in VERSIONS[platform])
    return [f"vllm: found version {version}; expected {expected} on {platform}; use such an image"]


def of_config(config: Any, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return reasons against a VllmConfig in a process with this environment."""
    model = config.model_config.hf_text_config
    reasons = []
    if not hasattr(model, "index_topk"):
        named_models = ", ".join(config.model_config.architectures)
        reasons.append(
            f"model: {named_models} has no index_topk; reuse needs DeepSeek Sparse Attention, use a model "
            "that has it"
        )
    reasons += compat.native_sharing_reasons(
        {field: getattr(model, field, None) for field in compat.NATIVE_SHARING}
    )
    for refusal in REFUSALS:
        for setting in refusal.settings:
            value = _value(setting, config, environment)
            if value not in (None, False, "") and _text(value) not in setting.allowed:
                reasons.append(setting.reason(refusal.why, _text(value)))
    return reasons


def _value(setting: Setting, config: Any, environment: Mapping[str, str]) -> Any:
    """Return the setting's value; None where this vLLM has no such field, or the configuration doesn't
    tell."""
    if not setting.is_argument:
        return environment.get(setting.name)
    try:
        return attrgetter(setting.config)(config) if setting.config else None
    except AttributeError:
        return None


def _text(value: Any) -> str | None:
    """Return a value as the command line spells it; None for what has no such spelling."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return f"{value:g}"
    return value if isinstance(value, str) else None

"""Tests that each refusal reads a field that vLLM has: set on the configuration of a real engine, it is
named, alone.
"""

from typing import Any

import pytest
from indexcache_core.refusals import REFUSALS, RUST_FRONTEND, Setting
from indexcache_core.supported import series_of
from indexcache_runtime.vllm.engine_core.refusals import of_config

from tests.conformance.engine import Engine

pytestmark = pytest.mark.engine

SETTINGS = {setting.config: setting for refusal in REFUSALS for setting in refusal.settings if setting.config}


def refused_value(setting: Setting) -> Any:
    """Return a value that asks for the feature."""
    if setting.name.startswith("--enable-"):
        return True
    if not setting.allowed:
        return object()
    return 2 if setting.allowed[0].isdecimal() else "another"


@pytest.mark.parametrize("path", SETTINGS)
def test_a_setting_is_refused_by_name(engine: Engine, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    from vllm import __version__

    found, setting, config = series_of(__version__), SETTINGS[path], engine.core.vllm_config
    if found is None or found < setting.since:
        pytest.skip(f"vLLM {__version__} has no {setting.name} yet")
    assert of_config(config) == []
    *parents, field = path.split(".")
    owner = config
    for parent in parents:
        owner = getattr(owner, parent)
    monkeypatch.setattr(owner, field, refused_value(setting))  # fails where there is no such field
    (reason,) = of_config(config)
    assert reason.startswith(f"{setting.name}: found ")


def test_the_servers_switch_is_vllms(engine: Engine) -> None:
    from vllm import envs

    assert RUST_FRONTEND in envs.environment_variables
    (reason,) = of_config(engine.core.vllm_config, {RUST_FRONTEND: "1"})
    assert reason.startswith(RUST_FRONTEND)

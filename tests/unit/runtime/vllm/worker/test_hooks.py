"""Functions are wrapped while somebody uses them."""

import sys
import types

import pytest
from indexcache_runtime.vllm.worker.hooks import Hook


def test_a_hook_is_there_while_somebody_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("a_module")
    module.f = original = lambda x: x  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_module", module)
    hook = Hook("a_module", "f", lambda f: lambda x: f(x) + 1)
    one, other = object(), object()
    hook.use(one, True)
    hook.use(other, True)
    assert module.f(1) == 2
    hook.use(one, False)
    assert module.f(1) == 2
    hook.use(other, False)
    assert module.f is original

"""Functions are wrapped while somebody uses them, and arguments set by name."""

import sys
import types

import pytest
from indexcache_runtime.vllm.hooks import Arguments, Hook


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


def test_arguments_are_set_however_they_are_passed() -> None:
    def f(a: int, b: int, c: int = 0, d: int = 0) -> None: ...

    arguments = Arguments(f)
    kwargs = {"d": 4}
    assert arguments.put({"b": 20, "c": 30, "d": 40}.items(), (1, 2), kwargs) == [1, 20]
    assert kwargs == {"c": 30, "d": 40}
    assert arguments.get("a", (1, 2), {}) == 1
    assert arguments.get("d", (1, 2), {}) is None

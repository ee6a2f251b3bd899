"""The names of vLLM's CUDA classes that the runtime touches are there in the release that is installed, read without importing it."""

import ast
import functools
import importlib.util
import types
from pathlib import Path

import pytest
from indexcache_runtime.vllm.architectures.deepseek_v32 import seam


def vllm() -> Path:
    """Where it lies."""
    found = importlib.util.find_spec("vllm")
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0])


@functools.cache
def tree(module: str) -> ast.Module | None:
    """The module's syntax; None if there is none."""
    path = vllm().parent.joinpath(*module.split(".")).with_suffix(".py")
    return ast.parse(path.read_text()) if path.exists() else None


def parameters(module: str, name: str) -> list[str] | None:
    """Of a function or a method."""
    node: ast.AST | None = tree(module)
    for part in name.split("."):
        body = getattr(node, "body", [])
        node = next((n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == part), None)
    if not isinstance(node, ast.FunctionDef):
        return None
    return [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]


def test_the_installed_release_has_them_all() -> None:
    assert seam.misfits(parameters) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (lambda m, n: None, "has no"),
        (lambda m, n: ["self"], "no parameter"),
        (lambda m, n: list(reversed(parameters(m, n) or [])), "order"),
    ],
)
def test_what_differs_is_named(found: seam.Callable[[str, str], list[str] | None], said: str) -> None:
    reasons = seam.misfits(found)
    assert len(reasons) >= len(seam.SIGNATURES)
    assert all(reason.startswith("vllm: ") for reason in reasons)
    assert any(said in reason for reason in reasons)


def test_a_hook_is_there_while_somebody_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("a_module")
    module.f = original = lambda x: x  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "a_module", module)
    hook = seam.Hook("a_module", "f", lambda f: lambda x: f(x) + 1)
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

    arguments = seam.Arguments(f)
    kwargs = {"d": 4}
    assert arguments.put({"b": 20, "c": 30, "d": 40}.items(), (1, 2), kwargs) == [1, 20]
    assert kwargs == {"c": 30, "d": 40}
    assert arguments.get("a", (1, 2), {}) == 1
    assert arguments.get("d", (1, 2), {}) is None

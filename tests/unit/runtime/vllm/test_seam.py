"""The names of vLLM's engine core and workers that the runtime leans on are there in the release that is
installed, read without importing it; and each that differs is named.
"""

import ast
import functools
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from indexcache_runtime.vllm import seam

NAMES = [(module, name) for module, functions in seam.SIGNATURES.items() for name in functions]
P = inspect.Parameter


@functools.cache
def tree(module: str) -> ast.Module | None:
    """Return a module's syntax; None if there is none."""
    vllm = importlib.util.find_spec("vllm")
    assert vllm is not None
    assert vllm.submodule_search_locations
    path = Path(vllm.submodule_search_locations[0]).parent.joinpath(*module.split(".")).with_suffix(".py")
    return ast.parse(path.read_text()) if path.exists() else None


def installed(module: str, name: str) -> inspect.Signature | None:
    """Return the signature of a function, a method or a class, there or where it is imported from."""
    node: ast.AST | None = tree(module)
    for part in (name, f"{name}.__init__"):
        found = _find(node, part)
        if isinstance(found, ast.FunctionDef):
            parameters = _parameters(found.args)
            return inspect.Signature(parameters[1:] if part != name else parameters)
    for statement in getattr(node, "body", []):
        if (
            isinstance(statement, ast.ImportFrom)
            and statement.module
            and any(alias.name == name for alias in statement.names)
        ):
            return installed(statement.module, name)
    return None


def _find(node: ast.AST | None, name: str) -> ast.AST | None:
    for part in name.split("."):
        body = getattr(node, "body", [])
        node = next(
            (n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == part), None
        )
    return node


def _parameters(a: ast.arguments) -> list[P]:
    positional = [*a.posonlyargs, *a.args]
    plain = len(positional) - len(a.defaults)
    out = [
        P(x.arg, P.POSITIONAL_OR_KEYWORD, default=P.empty if i < plain else None)
        for i, x in enumerate(positional)
    ]
    out += [P(a.vararg.arg, P.VAR_POSITIONAL)] if a.vararg else []
    keywords = zip(a.kwonlyargs, a.kw_defaults, strict=True)
    out += [P(x.arg, P.KEYWORD_ONLY, default=P.empty if default is None else None) for x, default in keywords]
    return out + ([P(a.kwarg.arg, P.VAR_KEYWORD)] if a.kwarg else [])


def test_the_installed_release_has_them_all() -> None:
    assert seam.misfits(installed) == []


def changed(change: Callable[[list[P]], list[P]], which: tuple[str, str]) -> seam.Found:
    """Return the installed release, but for one signature."""

    def found(module: str, name: str) -> inspect.Signature | None:
        signature = installed(module, name)
        if (module, name) != which or signature is None:
            return signature
        return inspect.Signature(change(list(signature.parameters.values())))

    return found


def renamed(parameters: list[P]) -> list[P]:
    last = max(
        i for i, p in enumerate(parameters) if p.default is P.empty and p.kind is P.POSITIONAL_OR_KEYWORD
    )
    return [p.replace(name="other") if i == last else p for i, p in enumerate(parameters)]


def needing_more(parameters: list[P]) -> list[P]:
    return [*parameters, P("more", P.KEYWORD_ONLY)]


@pytest.mark.parametrize("which", NAMES, ids=".".join)
@pytest.mark.parametrize("change", [renamed, needing_more])
def test_a_changed_signature_is_named(which: tuple[str, str], change: Callable[[list[P]], list[P]]) -> None:
    (reason,) = seam.misfits(changed(change, which))
    assert reason.startswith(f"vllm: {'.'.join(which)} has the parameters ")
    assert reason.endswith("use a vLLM release that this runtime knows")


@pytest.mark.parametrize("which", NAMES, ids=".".join)
def test_a_parameter_that_may_be_left_out_matters_only_where_ours_stands_in(which: tuple[str, str]) -> None:
    found = changed(lambda parameters: [*parameters, P("more", P.KEYWORD_ONLY, default=None)], which)
    may_follow = seam.SIGNATURES[which[0]][which[1]][-1] == seam.REST
    assert len(seam.misfits(found)) == (0 if may_follow else 1)


@pytest.mark.parametrize("which", NAMES, ids=".".join)
def test_what_is_gone_is_named(which: tuple[str, str]) -> None:
    (reason,) = seam.misfits(
        lambda module, name: None if (module, name) == which else installed(module, name)
    )
    assert reason == f"vllm: there is no {'.'.join(which)}; {seam.ADVICE}"


def test_signatures_are_read_from_this_process() -> None:
    assert seam.imported("inspect", "Signature.replace") is not None
    assert seam.imported("inspect", "Signature.none") is None
    assert seam.imported("no.such.module", "f") is None
    assert seam.imported("inspect", "_empty.__doc__") is None


def test_what_an_object_has_not_is_named() -> None:
    core = SimpleNamespace(scheduler=SimpleNamespace(running=[]))
    assert seam.missing(core, ("scheduler.running",), "EngineCore") == []
    assert seam.missing(core, ("scheduler.requests", "other"), "EngineCore") == [
        f"vllm: EngineCore has no scheduler.requests; {seam.ADVICE}",
        f"vllm: EngineCore has no other; {seam.ADVICE}",
    ]

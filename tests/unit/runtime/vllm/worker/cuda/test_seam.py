"""The names of vLLM's CUDA classes that the runtime touches are there in the release that is installed, read
without importing it.
"""

import ast
import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from indexcache_runtime.vllm.worker.cuda import seam


def vllm() -> Path:
    """Return where vLLM lies."""
    found = importlib.util.find_spec("vllm")
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0])


@functools.cache
def tree(module: str) -> ast.Module | None:
    """Return the module's syntax; None if there is none."""
    path = vllm().parent.joinpath(*module.split(".")).with_suffix(".py")
    return ast.parse(path.read_text()) if path.exists() else None


def parameters(module: str, name: str) -> list[str] | None:
    """Return the parameters of a function or a method."""
    node: ast.AST | None = tree(module)
    for part in name.split("."):
        body = getattr(node, "body", [])
        node = next(
            (n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == part), None
        )
    if not isinstance(node, ast.FunctionDef):
        return None
    return [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]


def test_the_installed_release_has_them_all() -> None:
    assert seam.misfits(parameters) == []


def test_the_installed_release_has_what_the_fast_indexer_needs() -> None:
    """The function is called by a name that the layers' module imports, which has no definition there; the
    others are read as in an engine.
    """
    defined = "vllm.model_executor.layers.sparse_attn_indexer"
    assert seam.misfits(lambda m, n: seam.imported(defined if m == seam.ATTENTION else m, n), seam.FAST) == []
    (reason,) = seam.misfits(lambda m, n: None, {"m": {"f": ()}})
    assert reason.startswith("vllm: m has no f")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (lambda m, n: None, "has no"),
        (lambda m, n: ["self"], "no parameter"),
        (lambda m, n: list(reversed(parameters(m, n) or [])), "order"),
    ],
)
def test_what_differs_is_named(found: Callable[[str, str], list[str] | None], said: str) -> None:
    reasons = seam.misfits(found)
    assert len(reasons) >= len(seam.SIGNATURES)
    assert all(reason.startswith("vllm: ") for reason in reasons)
    assert any(said in reason for reason in reasons)


def test_what_is_read_of_a_layer_and_a_runner_is_named_where_it_is_not_there() -> None:
    class Everything:
        """Has any attribute."""

        def __getattr__(self, name: str) -> "Everything":
            return Everything()

    class Bare:
        cudagraph_manager = None

    assert seam.missing(Everything(), Everything()) == []
    lacking = seam.missing(Everything(), Bare())
    assert lacking == [f"Bare.{name}" for name in seam.RUNNER]
    assert "object.impl.index_group.num_layers" in seam.missing(object(), Everything())

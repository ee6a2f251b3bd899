"""Tests index_topk_decode: the torch form against index_topk's own, bad input, and that CUDA C++ compiles."""

from typing import Any

import pytest
import torch
from indexcache_kernels.index_topk_decode import Workspace, index_topk_decode
from indexcache_kernels.index_topk_decode.cases import PAGE, cases

CASES = cases()
NAMES = ("q", "cache", "weights", "lengths", "table")


@pytest.mark.parametrize("name", CASES)
def test_the_reference_chooses_the_best_of_each_rows_own_pages(name: str) -> None:
    c = CASES[name]
    found = index_topk_decode(*c.arguments("cpu"), c.topk, c.workspace("cpu"))
    assert (found.shape, found.dtype) == ((len(c.rows), c.topk), torch.int32)
    assert c.errors(found) == 0


def test_errors_are_seen() -> None:
    c = CASES["rows of different lengths"]
    found = index_topk_decode(*c.arguments("cpu"), c.topk, c.workspace("cpu"))
    assert c.errors(found.flip(0)) > 0
    found[0, 0] = found[0, 1]
    assert c.errors(found) > 0


def test_keys_beyond_the_workspace_are_left_out() -> None:
    c = CASES["plain"]
    workspace = Workspace(1, 2 * PAGE, torch.device("cpu"))
    found = index_topk_decode(*c.arguments("cpu"), c.topk, workspace)
    assert int(found.max()) < 2 * PAGE
    assert workspace.bytes == 2 * PAGE * 4 + 4 * 8192
    assert Workspace(1, 2 * PAGE - 3, torch.device("cpu")).keys == 2 * PAGE


def test_it_goes_where_it_is_told_to() -> None:
    c = CASES["plain"]
    wide = torch.full((1, c.topk + 3), -9, dtype=torch.int32)
    out = wide[:, : c.topk]
    assert index_topk_decode(*c.arguments("cpu"), c.topk, c.workspace("cpu"), out) is out
    assert c.errors(out) == 0
    assert wide[0, c.topk :].tolist() == [-9] * 3


@pytest.mark.parametrize(
    ("name", "spoiled"),
    [
        ("q", lambda x: x[0]),
        ("q", lambda x: x.float()),
        ("cache", lambda x: x[..., :-1]),
        ("cache", lambda x: x.transpose(0, 1)),
        ("cache", lambda x: x.to(torch.int8)),
        ("weights", lambda x: x.double()),
        ("weights", lambda x: x[:, :-1]),
        ("lengths", lambda x: x.long()),
        ("lengths", lambda x: x.repeat(2)),
        ("table", lambda x: x[0]),
        ("table", lambda x: x.long()),
        ("table", lambda x: x.repeat(2, 1)),
        ("table", lambda x: x[:0]),
        ("table", lambda x: x.to("meta")),
    ],
)
def test_bad_input_is_refused_by_its_name(name: str, spoiled: Any) -> None:
    c = CASES["plain"]
    given = dict(zip(NAMES, c.arguments("cpu"), strict=True))
    given[name] = spoiled(given[name])
    with pytest.raises(ValueError, match=f"^{name}: "):
        index_topk_decode(**given, topk=c.topk, workspace=c.workspace("cpu"))


def test_what_else_can_be_wrong_is_named() -> None:
    c = CASES["rows of different lengths"]
    given = c.arguments("cpu")
    with pytest.raises(ValueError, match=r"^topk: 0; expected 1"):
        index_topk_decode(*given, 0, c.workspace("cpu"))
    with pytest.raises(ValueError, match=r"^workspace: of 1 rows; expected 6"):
        index_topk_decode(*given, c.topk, Workspace(1, 700, torch.device("cpu")))
    with pytest.raises(ValueError, match=r"^out: "):
        index_topk_decode(*given, c.topk, c.workspace("cpu"), torch.zeros((6, 3), dtype=torch.int32))

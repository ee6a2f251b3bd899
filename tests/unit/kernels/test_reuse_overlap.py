"""reuse_overlap against the definition, set by set in plain Python."""

import math
from typing import Any

import pytest
import torch
from indexcache_kernels.reuse_overlap import reuse_overlap
from indexcache_kernels.reuse_overlap.cases import Case, case, cases

CASES = cases()


def by_sets(c: Case) -> tuple[list[float], list[float]]:
    overlaps, recalls = [], []
    for i in range(c.fresh.shape[0]):
        reused = {p for p in c.reused[i].tolist() if p >= 0}
        fresh = [p for p in c.fresh[i].tolist() if p >= 0]
        overlaps.append(len(reused & set(fresh)) / len(fresh) if fresh else math.nan)
        if c.fresh_scores is None:
            continue
        score = {
            p: s
            for p, s in zip(c.fresh[i].tolist(), c.fresh_scores[i].double().tolist(), strict=True)
            if p >= 0
        }
        top = max(score.values(), default=0.0)
        weight = {p: math.exp(s - top) for p, s in score.items()}
        recalls.append(
            sum(weight[p] for p in fresh if p in reused) / sum(weight.values()) if fresh else math.nan
        )
    return overlaps, recalls


@pytest.mark.parametrize("name", CASES)
def test_matches_the_definition(name: str) -> None:
    c = CASES[name]
    overlap, recall = reuse_overlap(c.reused, c.fresh, c.fresh_scores)
    overlaps, recalls = by_sets(c)
    assert overlap.dtype == torch.float32
    torch.testing.assert_close(overlap, torch.tensor(overlaps), rtol=0, atol=c.tolerance, equal_nan=True)
    if c.fresh_scores is None:
        assert recall is None
    else:
        assert recall is not None
        assert recall.dtype == torch.float32
        torch.testing.assert_close(recall, torch.tensor(recalls), rtol=0, atol=c.tolerance, equal_nan=True)


def test_worked_example() -> None:
    reused = torch.tensor([[9, 3, -1, 5]], dtype=torch.int32)
    fresh = torch.tensor([[5, -1, 7, 9]], dtype=torch.int32)
    scores = torch.tensor([[0.0, 99.0, math.log(2.0), 0.0]])
    overlap, recall = reuse_overlap(reused, fresh, scores)
    assert recall is not None
    assert overlap.tolist() == pytest.approx([2 / 3])
    assert recall.tolist() == pytest.approx([(1 + 1) / (1 + 2 + 1)])


def test_rows_with_nothing_fresh_are_nan_and_no_others() -> None:
    c = case(6, 32)
    overlap, recall = reuse_overlap(c.reused, c.fresh, c.fresh_scores)
    assert recall is not None
    nothing = (c.fresh < 0).all(1)
    assert nothing.any()
    assert torch.equal(overlap.isnan(), nothing)
    assert torch.equal(recall.isnan(), nothing)


def test_sets_of_no_members_at_all() -> None:
    empty = torch.empty(2, 0, dtype=torch.int32)
    overlap, recall = reuse_overlap(empty, empty, torch.empty(2, 0))
    assert recall is not None
    assert overlap.isnan().all()
    assert recall.isnan().all()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"reused": torch.zeros(4, dtype=torch.int32)}, "reused: 1 dimensions"),
        ({"fresh": torch.zeros(4, 31, dtype=torch.int32)}, "fresh: \\(4, 31\\)"),
        ({"fresh_scores": torch.zeros(3, 32)}, "fresh_scores: \\(3, 32\\)"),
        ({"fresh": torch.zeros(4, 32)}, "fresh: torch.float32"),
        ({"fresh_scores": torch.zeros(4, 32, dtype=torch.int32)}, "fresh_scores: torch.int32"),
        (
            {"fresh": torch.zeros(4, 32, dtype=torch.int32, device="meta")},
            "fresh: \\(4, 32\\) on meta; expected .* on cpu, like reused",
        ),
        ({"reused": torch.zeros(4, 32, dtype=torch.int16)}, "reused: torch.int16; expected int32 or int64"),
    ],
)
def test_refuses_what_it_does_not_take(change: dict[str, torch.Tensor], named: str) -> None:
    c = case(4, 32)
    arguments: dict[str, Any] = {
        "reused": c.reused,
        "fresh": c.fresh,
        "fresh_scores": c.fresh_scores,
    } | change
    with pytest.raises(ValueError, match=named):
        reuse_overlap(**arguments)

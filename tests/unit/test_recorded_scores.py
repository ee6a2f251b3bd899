"""Tests the recorded scores of a trained model, and that a wrong choice among them is seen."""

import pytest
import torch
from indexcache_kernels.index_topk.naive import index_scores, index_topk_naive
from indexcache_kernels.index_topk_decode import index_topk_decode
from indexcache_kernels.index_topk_decode.cases import of_one_request

from benchmarks import recorded_scores

CASES = recorded_scores.cases()


def test_they_are_of_all_layers_and_have_ties_and_either_sign() -> None:
    assert len(CASES) == 8
    last = [index_scores(c.q, c.k, c.k_scale, c.weights)[-1] for c in CASES.values()]
    assert all(int((row == 0).sum()) > 1 for row in last)  # no head has anything to say there
    assert {bool(row.topk(64).values[-1] < 0) for row in last} == {True, False}


@pytest.mark.parametrize("name", CASES)
def test_the_references_choose_none_below_the_best(name: str) -> None:
    c = CASES[name]
    found = index_topk_naive(*c)
    assert recorded_scores.below(c, found) == 0
    decoded = of_one_request(c)
    assert (
        recorded_scores.below(
            c, index_topk_decode(*decoded.arguments("cpu"), c.topk, decoded.workspace("cpu"))
        )
        == 0
    )
    spoilt = found.clone()
    spoilt[0, 0] = index_scores(c.q, c.k, c.k_scale, c.weights)[0].argmin()
    assert recorded_scores.below(c, spoilt) > 0
    twice = found.clone()
    twice[0, 0] = twice[0, 1]
    assert recorded_scores.below(c, twice) > 0
    assert recorded_scores.below(c, found.fill_(-1)) == found.numel() + len(found) * (c.topk - 1)


def test_what_is_recorded_is_what_was_asked_but_for_rounding() -> None:
    g = torch.Generator().manual_seed(0)
    q, k, weights = (torch.randn(*shape, generator=g) for shape in ((20, 2, 32), (20, 32), (20, 2)))
    made = recorded_scores.recorded(q, k, weights)
    assert (made["q"].shape, made["k"].shape) == ((8, 2, 32), (20, 32))
    found = index_scores(made["q"], made["k"], made["k_scale"], made["weights"])
    wanted = index_scores(q[-8:], k, torch.ones(20), weights[-8:])
    assert torch.allclose(found, wanted, atol=0.1 * float(wanted.abs().max()))

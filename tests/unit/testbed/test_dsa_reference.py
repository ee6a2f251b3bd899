"""The float64 reference: against Hugging Face's model, and what it says of patterns against sets in plain
Python.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from dsa_cpu import random_model
from dsa_cpu.reference import Outcome, Reference

N, K = 150, random_model.CONFIG["index_topk"]
IDS = torch.randint(3, 256, (N,), generator=torch.Generator().manual_seed(7)).tolist()
PATTERN = "FSFS"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("random") / "model"
    random_model.write(folder, "DeepseekV32ForCausalLM", seed=0)
    return folder


@pytest.fixture(scope="module")
def reference(model: Path) -> Reference:
    return Reference(model)


@pytest.fixture(scope="module")
def full(reference: Reference) -> Outcome:
    return reference(IDS)


@pytest.mark.parametrize("architecture", random_model.KINDS)
def test_agrees_with_hugging_face(tmp_path: Path, architecture: str) -> None:
    import transformers

    random_model.write(tmp_path / "model", architecture, seed=0)
    load = getattr(transformers, architecture).from_pretrained
    theirs = load(tmp_path / "model", dtype=torch.float64, attn_implementation="eager").eval()
    with torch.no_grad():
        logits = theirs(torch.tensor([IDS])).logits[0]
    ours = Reference(tmp_path / "model")(IDS).logits
    torch.testing.assert_close(logits.log_softmax(-1), ours.log_softmax(-1), rtol=0, atol=1e-5)


def test_without_a_pattern_every_site_reads_its_own_choice(full: Outcome) -> None:
    assert torch.equal(full.chosen, full.fresh)
    assert torch.equal(full.fresh.sum(-1), torch.arange(1, N + 1).clamp(max=K).expand(4, N))
    assert full.overlap.isnan().all()
    assert full.recall.isnan().all()
    assert full.reads_own.all()


def test_dense_attention_reads_everything(reference: Reference) -> None:
    assert torch.equal(reference(IDS, topk=0).chosen, torch.ones(4, N, N, dtype=torch.bool).tril())


def test_all_full_as_a_pattern_changes_nothing(reference: Reference, full: Outcome) -> None:
    assert torch.equal(reference(IDS, pattern="FFFF").logits, full.logits)


def test_on_a_shared_site_reads_its_leaders_choice(reference: Reference, full: Outcome) -> None:
    on = reference(IDS, pattern=PATTERN)
    assert torch.equal(on.chosen[1], on.fresh[0])
    assert torch.equal(on.chosen[3], on.fresh[2])
    assert torch.equal(on.chosen[[0, 2]], on.fresh[[0, 2]])
    assert not torch.equal(on.fresh[1], on.chosen[1])
    assert not torch.allclose(on.logits, full.logits, atol=0.1)


def test_shadow_changes_no_token(reference: Reference, full: Outcome) -> None:
    shadow = reference(IDS, pattern=PATTERN, mode="shadow")
    assert torch.equal(shadow.logits, full.logits)
    assert torch.equal(shadow.chosen, shadow.fresh)


@pytest.mark.parametrize("mode", ["shadow", "on"])
def test_overlap_and_recall_of_each_row(reference: Reference, mode: str) -> None:
    o = reference(IDS, pattern=PATTERN, mode=mode)
    assert o.overlap[[0, 2]].isnan().all()
    assert o.recall[[0, 2]].isnan().all()
    for site in (1, 3):
        assert o.overlap[site, :K].isnan().all()
        for row in range(K, N):
            reused = set(o.fresh[site - 1, row].nonzero()[:, 0].tolist())
            fresh = o.fresh[site, row].nonzero()[:, 0].tolist()
            mass = {p: math.exp(float(o.scores[site, row, p])) for p in fresh}
            assert float(o.overlap[site, row]) == pytest.approx(len(reused & set(fresh)) / K)
            assert float(o.recall[site, row]) == pytest.approx(
                sum(mass[p] for p in fresh if p in reused) / sum(mass.values())
            )


def test_reuse_for_some_rows_leaves_the_rows_before_alone(reference: Reference, full: Outcome) -> None:
    rows = torch.zeros(N, dtype=torch.bool)
    rows[100:120] = True
    some = reference(IDS, pattern=PATTERN, reuse_rows=rows)
    assert torch.equal(some.logits[:100], full.logits[:100])
    assert torch.equal(some.chosen[1, rows], some.fresh[0, rows])
    assert torch.equal(some.chosen[1, ~rows], some.fresh[1, ~rows])
    assert not torch.equal(some.logits[100:120], full.logits[100:120])


def outcome(
    margin: list[list[float]], chosen: list[list[list[int]]], reads_own: list[list[bool]] | None = None
) -> Outcome:
    """Return an outcome of few rows with only what `sure` reads."""
    nothing = torch.empty(0)
    own = torch.tensor(reads_own) if reads_own else torch.ones(len(margin), len(margin[0]), dtype=torch.bool)
    return Outcome(
        nothing, torch.tensor(chosen) > 0, nothing, nothing, torch.tensor(margin), nothing, nothing, own
    )


EYE = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_a_close_choice_makes_its_own_row_doubtful() -> None:
    assert outcome([[1.0, 1e-6, 1.0]], [EYE]).sure().tolist() == [True, False, True]


def test_doubt_spreads_in_later_layers_to_rows_that_attend_to_it() -> None:
    reads_row_1 = [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert outcome([[1.0, 1e-6, 1.0], [1.0] * 3], [EYE, reads_row_1]).sure().tolist() == [True, False, False]
    assert outcome([[1.0, 1e-6, 1.0], [1.0] * 3], [reads_row_1, EYE]).sure().tolist() == [True, False, True]


def test_a_choice_that_nobody_read_makes_nothing_doubtful() -> None:
    close_but_unread = outcome([[1.0] * 3, [1.0, 1e-6, 1.0]], [EYE, EYE], [[True] * 3, [False] * 3])
    assert close_but_unread.sure().tolist() == [True] * 3


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ({"pattern": "SFFF"}, "pattern: 'SFFF'"),
        ({"pattern": "FS"}, "4 letters"),
        ({"pattern": "FSFX"}, "F and S"),
        ({"mode": "of"}, "mode: 'of'"),
    ],
)
def test_refuses_patterns_and_modes_that_are_none(
    reference: Reference, how: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        reference(IDS[:4], **how)

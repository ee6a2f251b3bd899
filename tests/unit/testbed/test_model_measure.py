"""The walk through the tree of prefixes against direct runs, and the choice of patterns by figures."""

from pathlib import Path

import pytest
import torch
from indexcache_testbed.model import questions
from indexcache_testbed.model.architecture import Model, Shape, choose
from indexcache_testbed.model.measure import all_patterns, measure, reuse
from indexcache_testbed.model.patterns import PatternTable, Size
from indexcache_testbed.model.patterns import choose as choose_patterns

SHAPE = Shape(layers=3, hidden=64, heads=2, q_lora=32, kv_lora=32, intermediate=128, topk=8)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return Model(SHAPE)


@pytest.fixture(scope="module")
def tables() -> list[questions.Table]:
    return [questions.table(4, seed=5, index=i, questions=12) for i in range(5)]


def test_every_pattern_agrees_with_running_its_questions_one_by_one(
    model: Model, tables: list[questions.Table]
) -> None:
    measured = measure(model, tables, batch=2)
    asked = [t.question(h) for t in tables for h in range(questions.past_2k(4, 8), 12)]
    assert measured.questions == len(asked)
    assert measured.context == (min(x.tokens for x in asked), max(x.tokens for x in asked))
    assert measured.context[0] > 16
    assert set(measured.patterns) == set(all_patterns(3))
    for pattern, (right, log_prob) in measured.patterns.items():
        out = [model.run(torch.tensor([x.ids]), pattern)[0, -1].log_softmax(-1) for x in asked]
        hits = [int(o.argmax()) == x.answer_id for o, x in zip(out, asked, strict=True)]
        assert right == pytest.approx(sum(hits) / len(asked))
        assert log_prob == pytest.approx(
            sum(o[x.answer_id].item() for o, x in zip(out, asked, strict=True)) / len(asked), abs=1e-4
        )


def test_reuse_on_and_in_shadow_agrees_with_sets_recomputed_row_by_row(
    model: Model, tables: list[questions.Table]
) -> None:
    measured = measure(model, tables, ["FSF", "FSS"], batch=2)
    for letters, key, found in (
        ("FFF", "0>1", measured.shadow),
        ("FFF", "0>2", measured.shadow),
        ("FSS", "FSS", measured.on),
    ):
        site = int(key[-1]) if ">" in key else len(key) - 1
        overlaps, recalls = [], []
        for t in tables:
            chosen, scores = _sets(model, t, letters, site)
            for row in range(16, len(scores)):
                fresh, reused = chosen[site][row], chosen[0][row]
                share = scores[row][sorted(fresh)].softmax(-1)
                overlaps.append(len(fresh & reused) / len(fresh))
                recalls.append(
                    sum(p for p, i in zip(share.tolist(), sorted(fresh), strict=True) if i in reused)
                )
        assert found[key] == pytest.approx(
            (sum(overlaps) / len(overlaps), sum(recalls) / len(recalls)), abs=1e-5
        )


def _sets(
    model: Model, table: questions.Table, letters: str, site: int
) -> tuple[dict[int, list[set[int]]], torch.Tensor]:
    """Return fresh choices of every site, row by row, under a pattern; the scores of one site."""
    tokens = torch.tensor([table.ids()])
    angles = model.angles(tokens.shape[1])
    used: torch.Tensor | None = None
    chosen: dict[int, list[set[int]]] = {}
    with torch.no_grad():
        x = model.embed(tokens)
        for i, (layer, letter) in enumerate(zip(model.layers, letters, strict=True)):
            x, used, fresh, scores = layer.step(x, used if letter == "S" else None, angles, score=True)
            assert fresh is not None
            assert scores is not None
            chosen[i] = [set(row.nonzero()[:, 0].tolist()) for row in fresh[0]]
            if i == site:
                kept = scores[0]
    return chosen, kept


def test_reuse_of_the_fresh_set_is_one_and_of_a_disjoint_set_zero() -> None:
    scores = torch.randn(1, 6, 6)
    fresh = choose(scores, 3)
    assert reuse(fresh, fresh, scores, 0) == pytest.approx((1, 1))
    assert reuse(~fresh, fresh, scores, 0) == pytest.approx((0, 0))


def test_too_small_a_table_is_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="take more pairs"):
        measure(model, [questions.table(1, seed=1, index=0, questions=3)])


def example() -> PatternTable:
    sizes = [
        Size(16, 192, 3072, (131, 176)),
        Size(256, 64, 3072, (515, 656)),
        Size(432, 64, 3072, (867, 1008)),
    ]
    rights: dict[str, list[float]] = {
        "FFF": [1, 1, 1],
        "FFS": [1, 0.99, 0.98],
        "FSF": [0.6, 0.2, 0.1],
        "FSS": [0.99, 0.5, 0.4],
    }
    patterns = {p: {"right": r, "log_prob": [-0.1, -0.2, -0.3]} for p, r in rights.items()}
    recalls = {"0>1": [0.8, 0.2, 0.1], "0>2": [0.9, 0.5, 0.4], "1>2": [0.9, 0.8, 0.7]}
    shadow = {k: {"overlap": [0.5, 0.5, 0.5], "recall": v} for k, v in recalls.items()}
    return PatternTable(
        sizes, 64, 7, patterns, {"FS": shadow["0>1"], "FSS": shadow["0>2"], "FFS": shadow["1>2"]}, shadow
    )


def test_lookups_name_sites_and_their_leaders() -> None:
    table = example()
    assert {k: v.recall for k, v in table.reuse_shadow("FSS", 432).items()} == {1: 0.1, 2: 0.4}
    assert {k: v.recall for k, v in table.reuse_shadow("FFS", 432).items()} == {2: 0.7}
    assert table.reuse_on("FFS", 16)[2].recall == 0.9
    assert table.lowest_recall("FSS", 16) == 0.8
    with pytest.raises(KeyError, match="17 not measured"):
        table.right("FFF", 17)


def test_the_table_survives_its_file(tmp_path: Path) -> None:
    table = example()
    table.save(tmp_path / "patterns.json")
    assert PatternTable.load(tmp_path / "patterns.json") == table


def test_choice_of_patterns_says_what_is_missed() -> None:
    table = example()
    chosen = choose_patterns(table)
    assert (chosen.good, chosen.harmful, chosen.drift) == ("", "FSF", "FSS")
    assert chosen.missed == ["good: no pattern has the figures"]
    table.patterns["FFF"]["right"][2] = 0.98
    assert "all Full: 0.9800 right at 432 pairs, expected 0.99" in choose_patterns(table).missed

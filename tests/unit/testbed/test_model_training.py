"""Training: the loss falls, each stage trains what it should, the measured table is right, the checkpoint
survives the round trip.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from indexcache_testbed.model import export, questions
from indexcache_testbed.model.architecture import Model, Shape
from indexcache_testbed.model.objective import Stage, forward, kl
from indexcache_testbed.model.steps import Optimizer, TrainingStep, draw
from transformers import AutoTokenizer

SMALL = Shape(layers=2, hidden=64, heads=2, q_lora=32, kv_lora=32, intermediate=128, topk=8)


def test_drawn_sequences_answer_by_their_own_table() -> None:
    tokens, answers = draw(2, 16, torch.device("cpu"))
    assert tokens.shape == (2, 1 + 32 + 3 * 48)
    for row, expected in zip(tokens.tolist(), answers.tolist(), strict=True):
        table = dict(zip(row[1:33:2], row[2:33:2], strict=True))
        assert sorted(table) == sorted(table.values())
        assert len(table) == 16
        assert set(row[33::3]) == {questions.ASK}
        assert [table[key] for key in row[34::3]] == row[35::3] == expected


def test_a_few_dense_steps_reduce_the_loss() -> None:
    torch.manual_seed(0)
    model = Model(SMALL)
    body = [p for n, p in model.named_parameters() if ".indexer." not in n]
    optimizer = Optimizer(body, 3e-3, graphs=False)
    step = TrainingStep(
        model, "dense", optimizer, batch=16, pairs=2, divergence_weight=0.0, questions=8, symbols=16
    )
    losses = []
    for _ in range(60):
        step()
        losses.append(step.loss.item())
    # Knowing no more than that an answer is one of 16 symbols costs log 16 = 2.77.
    assert losses[0] > 5
    assert sum(losses[-10:]) / 10 < 2.9


def test_warm_steps_bring_the_indexers_nearer_to_the_attention_and_change_nothing_else() -> None:
    torch.manual_seed(0)
    model = Model(SMALL)
    before = {n: p.clone() for n, p in model.named_parameters()}
    indexers = [p for n, p in model.named_parameters() if ".indexer." in n]
    step = TrainingStep(
        model,
        "warm",
        Optimizer(indexers, 3e-3, graphs=False),
        batch=4,
        pairs=16,
        divergence_weight=1.0,
        questions=8,
    )
    divergences = []
    for _ in range(30):
        step()
        divergences.append(step.divergence.item())
    assert sum(divergences[-5:]) < 0.7 * sum(divergences[:5])
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {n for n in before if ".indexer." in n}


@pytest.mark.parametrize("stage", ["dense", "sparse"])
def test_the_language_loss_never_reaches_the_indexers(stage: Stage) -> None:
    model = Model(SMALL)
    tokens, _ = draw(1, 16, torch.device("cpu"), 8)
    logits, _ = forward(model, tokens, stage)
    logits.sum().backward()  # type: ignore[no-untyped-call]
    assert {n for n, p in model.named_parameters() if p.grad is None} == {
        n for n, _ in model.named_parameters() if ".indexer." in n
    }


def test_sparse_training_and_serving_compute_the_same() -> None:
    torch.manual_seed(0)
    model = Model(
        replace(SMALL, index_heads=16)
    )  # with 2, exact ties are common and training leaves them to topk
    tokens, _ = draw(2, 16, torch.device("cpu"), 8)
    logits, _ = forward(model, tokens, "sparse")
    torch.testing.assert_close(logits, model.run(tokens, "FF"))


def test_kl_is_zero_only_for_the_target_and_ignores_hidden_tokens() -> None:
    target = torch.tensor([[[0.25, 0.75, 0.0]]])
    visible = torch.tensor([[[True, True, False]]])
    assert kl(target, torch.tensor([[[0.25, 0.75, 9.0]]]).log(), visible).item() == pytest.approx(0, abs=1e-6)
    expected = 0.25 * torch.tensor(0.5).log() + 0.75 * torch.tensor(1.5).log()
    assert kl(target, torch.zeros(1, 1, 3), visible).item() == pytest.approx(expected.item())


def test_export_round_trip(tmp_path: Path) -> None:
    model = Model(SMALL)
    export.export(model.state_dict(), tmp_path, SMALL)
    back = export.load(tmp_path)
    assert back.shape == SMALL
    for name, weight in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], weight.bfloat16().float()), name


def test_the_checkpoint_is_small_and_its_tokenizer_reads_prompts(tmp_path: Path) -> None:
    export.export(Model(Shape()).state_dict(), tmp_path)
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) <= 10_000_000
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    question = questions.ask(16, seed=1, index=0)
    assert tokenizer(question.prompt).input_ids == list(question.ids)
    assert question.right(str(tokenizer.decode([question.answer_id])))

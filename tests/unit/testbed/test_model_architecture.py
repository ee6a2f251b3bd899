"""The plain-torch model against Hugging Face's, and its choices."""

from pathlib import Path
from typing import Any

import pytest
import torch
from indexcache_testbed.model import export, questions
from indexcache_testbed.model.architecture import Model, Shape, choose
from transformers.models.deepseek_v32 import modeling_deepseek_v32 as hf


def noisy(shape: Shape) -> Model:
    """Return a model of random weights, norms and biases too: a lost one would not show at its initial
    value."""
    torch.manual_seed(1)
    model = Model(shape)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.add_(torch.randn_like(p) * 0.2)
            if "q_b_proj" in name or "kv_b_proj" in name:
                p.mul_(1.5)
    return model


@pytest.fixture
def exact_hugging_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Hugging Face exact: it scores and normalizes in float32 whatever the model's dtype, and its topk
    breaks exact ties its own way; here float64, and ties to the earlier position.
    """
    to_float = torch.Tensor.float

    def topk(x: torch.Tensor, k: int, dim: int = -1) -> torch.return_types.topk:
        values, indices = x.sort(dim=dim, descending=True, stable=True)
        return torch.return_types.topk((values[..., :k], indices[..., :k]))

    def norm(self: Any, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = (
            self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        )
        return out

    monkeypatch.setattr(torch.Tensor, "topk", topk)
    monkeypatch.setattr(torch.Tensor, "float", lambda x: x if x.dtype == torch.float64 else to_float(x))
    monkeypatch.setattr(hf.DeepseekV32RMSNorm, "forward", norm)


@pytest.mark.usefixtures("exact_hugging_face")
def test_all_full_equals_hugging_face(tmp_path: Path) -> None:
    model = noisy(Shape(layers=3))
    export.export(model.state_dict(), tmp_path, model.shape, torch.float32)
    tokens = torch.tensor([questions.table(100, seed=3, index=0).ids()])
    theirs = hf.DeepseekV32ForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float64, attn_implementation="eager"
    )
    expected = theirs(tokens).logits.detach().log_softmax(-1)
    found = model.double().run(tokens, "FFF").log_softmax(-1)
    assert (found - expected).abs().max().item() < 1e-5
    # The comparison would mean little if the choice did not matter.
    assert (model.run(tokens, "FSS").log_softmax(-1) - expected).abs().max().item() > 1e-2


def test_exact_ties_go_to_the_earlier_position() -> None:
    scores = torch.tensor([[[1.0, 0.0, 1.0, 1.0, 2.0]]])
    assert choose(scores, 3).tolist() == [[[True, False, True, False, True]]]


def test_contexts_of_at_most_k_tokens_answer_alike_under_every_pattern() -> None:
    model = noisy(Shape(layers=3))
    tokens = torch.tensor([questions.table(30, seed=3, index=0).ids()[:64]])
    assert torch.equal(model.run(tokens, "FFF"), model.run(tokens, "FSS"))

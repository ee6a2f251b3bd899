"""The training forward: logits and the indexers' divergence from the attention they have to imitate.

Three stages, as DeepSeek trains sparse attention (DeepSeek-V3.2, section 2.1):
* dense: every query attends to all earlier tokens; indexers idle.
* warm: the same, and each indexer learns the attention averaged over heads by KL divergence, on sampled query
  rows.
* sparse: queries attend to what the indexers choose; the divergence is over the chosen tokens.

Indexers see detached inputs: the divergence trains them alone and the language loss never reaches them.
Everything here is safe inside a CUDA graph: no value is read back, indexing is by index_select.
"""

from typing import Literal

import torch
from torch import Tensor

from .architecture import Model

Stage = Literal["dense", "warm", "sparse"]


def forward(model: Model, tokens: Tensor, stage: Stage, rows: int = 256) -> tuple[Tensor, Tensor]:
    """Return logits [B, T, vocabulary] and the divergence summed over layers (0 when dense).

    tokens [B, T] with T > k; `rows` query rows past k are drawn for each layer's divergence.
    """
    batch, length = tokens.shape
    angles = model.angles(length)
    x = model.embed(tokens)
    divergence = torch.zeros((), device=tokens.device)
    for layer in model.layers:
        attention = layer.self_attn
        hidden: Tensor = layer.input_layernorm(x)
        inputs = attention.inputs(hidden, angles)
        chosen: Tensor | None = None
        if stage != "dense":
            scores: Tensor = attention.indexer(hidden.detach(), inputs.latent.detach(), angles).masked_fill(
                ~angles.causal, -torch.inf
            )
            if stage == "sparse":
                best = scores.topk(model.shape.topk, -1).indices
                chosen = (
                    torch.zeros(batch, length, length, dtype=torch.bool, device=x.device).scatter_(
                        2, best, True
                    )
                    & angles.causal
                )
            drawn = torch.randint(model.shape.topk, length, (rows,), device=x.device)
            visible = (
                angles.causal.index_select(0, drawn)[None]
                if chosen is None
                else chosen.index_select(1, drawn)
            )
            with torch.no_grad():
                target = attention_share(inputs.q.index_select(2, drawn), inputs.k, visible)
            divergence = divergence + kl(target, scores.index_select(1, drawn), visible)
        x = layer.finish(x, attention.attend(inputs, None if chosen is None else chosen[:, None]))
    return model.unembed(x), divergence


def attention_share(q: Tensor, k: Tensor, visible: Tensor) -> Tensor:
    """Return attention probabilities averaged over heads, [B, R, T]. q [B, H, R, d], k [B, H, T, d], visible
    [B or 1, R, T].
    """
    logits = (q @ k.transpose(2, 3)).float() * q.shape[-1] ** -0.5
    share: Tensor = logits.masked_fill(~visible[:, None], -torch.inf).softmax(-1).mean(1)
    return share


def kl(target: Tensor, scores: Tensor, visible: Tensor) -> Tensor:
    """Return the mean over rows of KL(target || softmax of the visible scores). All [B, R, T]."""
    log_q = scores.masked_fill(~visible, -torch.inf).log_softmax(-1)
    # 0 * (log 0 - log 0) is no number; where the target is 0 the summand is 0.
    divergence: Tensor = (
        (target * (target.clamp_min(1e-9).log() - log_q)).masked_fill(target == 0, 0.0).sum(-1).mean()
    )
    return divergence

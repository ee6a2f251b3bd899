"""DeepSeek-V3.2 in plain torch at a tiny size: latent attention over the k tokens that each layer's indexer
chooses, no experts.

Names of parameters and arithmetic are those of Hugging Face's `DeepseekV32ForCausalLM`, so the state dict is
the checkpoint.

Invariants and traps:
* The main rope rotates pairs (0, 1), (2, 3), ...; the indexer's rotates halves. Swapping them gives a model
  that trains just as well here and answers nonsense when served.
* The indexer's k_norm is a LayerNorm with eps 1e-6; torch's default is 1e-5.
* Exact ties of index scores are common with few index heads (each is a ReLU): they go to the earlier
  position, as in the serving path.
* Attention reads only what is chosen; a Shared layer reads what the nearest Full layer before it chose.
"""

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .questions import TOPK, VOCABULARY

EPS = 1e-6
THETA = 10_000.0


@dataclass(frozen=True)
class Shape:
    """Sizes of the model; the defaults are those of the trained checkpoint (4.5 M parameters)."""

    vocabulary: int = VOCABULARY
    layers: int = 8
    hidden: int = 256
    heads: int = 4
    q_lora: int = 128
    kv_lora: int = 64
    nope: int = 16
    rope: int = 16
    value: int = 32
    """Head size of the values; nope + rope must equal it, or torch has no fused attention kernel."""
    intermediate: int = 512
    index_heads: int = 2
    index_head: int = 32
    topk: int = TOPK


class Angles(NamedTuple):
    """Holds rope's cosines and sines, each [T, rope / 2], and the causal mask [T, T], True where a query may
    look.
    """

    cos: Tensor
    sin: Tensor
    causal: Tensor


class Inputs(NamedTuple):
    """Holds what attention needs of its tokens: latent query [B, T, q_lora]; queries, keys [B, H, T, nope +
    rope]; values [B, H, T, value].
    """

    latent: Tensor
    q: Tensor
    k: Tensor
    v: Tensor


def rope_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate (0, 1), (2, 3), ... of the last dimension. x [..., T, rope]."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)


def rope_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate (0, rope / 2), (1, rope / 2 + 1), ... of the last dimension. x [..., T, rope]."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


class RMSNorm(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, EPS)


class Indexer(nn.Module):
    """Scores every earlier token for every query: sum over index heads of weight * ReLU(q . k)
    (DeepSeek-V3.2, equation 1).
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.wq_b = linear(shape.q_lora, shape.index_heads * shape.index_head)
        self.wk = linear(shape.hidden, shape.index_head)
        self.k_norm = nn.LayerNorm(shape.index_head, eps=EPS)
        self.weights_proj = linear(shape.hidden, shape.index_heads)

    def forward(self, x: Tensor, latent: Tensor, angles: Angles) -> Tensor:
        """Return scores [B, T, T], not masked, in float32 or better.

        x [B, T, hidden], latent [B, T, q_lora].
        """
        s, (batch, length, _) = self.shape, x.shape
        q: Tensor = self.wq_b(latent).view(batch, length, s.index_heads, s.index_head).transpose(1, 2)
        k: Tensor = self.k_norm(self.wk(x))
        q, k = (
            torch.cat([rope_halves(t[..., : s.rope], angles.cos, angles.sin), t[..., s.rope :]], -1)
            for t in (q, k)
        )
        weight: Tensor = self.weights_proj(x).transpose(1, 2) * s.index_heads**-0.5 * s.index_head**-0.5
        scores = (F.relu(q @ k[:, None].transpose(2, 3)) * weight[..., None]).sum(1)
        return scores.to(torch.promote_types(x.dtype, torch.float32))


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = s = shape
        self.q_a_proj, self.q_a_layernorm = linear(s.hidden, s.q_lora), RMSNorm(s.q_lora)
        self.q_b_proj = linear(s.q_lora, s.heads * (s.nope + s.rope))
        self.kv_a_proj_with_mqa, self.kv_a_layernorm = (
            linear(s.hidden, s.kv_lora + s.rope),
            RMSNorm(s.kv_lora),
        )
        self.kv_b_proj = linear(s.kv_lora, s.heads * (s.nope + s.value))
        self.o_proj = linear(s.heads * s.value, s.hidden)
        self.indexer = Indexer(s)

    def inputs(self, x: Tensor, angles: Angles) -> Inputs:
        """Project x [B, T, hidden], normalized, to what attention and indexer read."""
        s, (batch, length, _), (cos, sin, _) = self.shape, x.shape, angles
        latent: Tensor = self.q_a_layernorm(self.q_a_proj(x))
        q: Tensor = self.q_b_proj(latent).view(batch, length, s.heads, s.nope + s.rope).transpose(1, 2)
        q = torch.cat([q[..., : s.nope], rope_pairs(q[..., s.nope :], cos, sin)], -1)
        compressed, k_rope = self.kv_a_proj_with_mqa(x).split([s.kv_lora, s.rope], -1)
        kv: Tensor = (
            self.kv_b_proj(self.kv_a_layernorm(compressed))
            .view(batch, length, s.heads, s.nope + s.value)
            .transpose(1, 2)
        )
        k = torch.cat(
            [kv[..., : s.nope], rope_pairs(k_rope, cos, sin)[:, None].expand(-1, s.heads, -1, -1)], -1
        )
        return Inputs(latent, q, k, kv[..., s.nope :])

    def attend(self, inputs: Inputs, chosen: Tensor | None) -> Tensor:
        """Return [B, T, hidden]. chosen: True where a query reads a key, broadcastable to [B, H, T, T]; None
        for all earlier tokens.
        """
        _, q, k, v = inputs
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=chosen, is_causal=chosen is None, scale=q.shape[-1] ** -0.5
        )
        projected: Tensor = self.o_proj(out.transpose(1, 2).flatten(2))
        return projected


class MLP(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (
            linear(shape.hidden, shape.intermediate),
            linear(shape.hidden, shape.intermediate),
        )
        self.down_proj = linear(shape.intermediate, shape.hidden)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Step(NamedTuple):
    """Holds one layer's outcome: x [B, T, hidden]; the set it read; its own choice and masked scores if they
    were computed. All [B, T, T].
    """

    x: Tensor
    used: Tensor
    fresh: Tensor | None
    scores: Tensor | None


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm, self.self_attn = RMSNorm(shape.hidden), Attention(shape)
        self.post_attention_layernorm, self.mlp = RMSNorm(shape.hidden), MLP(shape)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what follows attention to the residual stream."""
        x = x + attended
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out

    def step(self, x: Tensor, reused: Tensor | None, angles: Angles, *, score: bool) -> Step:
        """Run the layer Full if `reused` is None, else Shared with that set; `score` has a Shared layer's
        indexer run as well, for comparison.
        """
        attention = self.self_attn
        hidden: Tensor = self.input_layernorm(x)
        inputs = attention.inputs(hidden, angles)
        fresh = scores = None
        if reused is None or score:
            scores = attention.indexer(hidden, inputs.latent, angles).masked_fill(~angles.causal, -torch.inf)
            fresh = choose(scores, attention.shape.topk) & angles.causal
        used = reused if reused is not None else cast(Tensor, fresh)
        return Step(self.finish(x, attention.attend(inputs, used[:, None])), used, fresh, scores)


def choose(scores: Tensor, k: int) -> Tensor:
    """Return the k best of each row as a mask [B, T, T], exact ties to the earlier position. A row of fewer
    tokens holds masked ones too.
    """
    best = scores.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(2, best, True)


class Body(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden)


class Model(nn.Module):
    """The causal language model, initialized for training."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model, self.lm_head = Body(shape), linear(shape.hidden, shape.vocabulary)
        self._angles: dict[tuple[int, torch.dtype, torch.device], Angles] = {}
        for name, p in self.named_parameters():
            if p.dim() == 2:
                # Embeddings start at 1 and residual outputs at a fifth of the usual scale: with small
                # embeddings the recall circuit is never found, whatever the learning rate.
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(
                    p, std=1.0 if "embed" in name else p.shape[1] ** -0.5 * (0.2 if residual else 1.0)
                )

    @property
    def layers(self) -> list[Layer]:
        return [cast(Layer, layer) for layer in self.model.layers]

    def angles(self, length: int) -> Angles:
        """Return the angles of positions 0 to length - 1; computed on the CPU in float32, as Hugging Face
        does, and kept."""
        weight, half = self.lm_head.weight, self.shape.rope
        key = (length, weight.dtype, weight.device)
        if key not in self._angles:
            angle = torch.arange(length)[:, None] * (1.0 / THETA ** (torch.arange(0, half, 2) / half))
            causal = torch.ones(length, length, dtype=torch.bool, device=weight.device).tril()
            self._angles[key] = Angles(
                angle.cos().to(weight.device, weight.dtype),
                angle.sin().to(weight.device, weight.dtype),
                causal,
            )
        return self._angles[key]

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the tokens' embeddings [B, T, hidden]. By index_select, which a CUDA graph can hold."""
        return self.model.embed_tokens.weight.index_select(0, tokens.flatten()).view(
            *tokens.shape, self.shape.hidden
        )

    def unembed(self, x: Tensor) -> Tensor:
        """Return logits [..., vocabulary]."""
        out: Tensor = self.lm_head(self.model.norm(x))
        return out

    @torch.no_grad()
    def run(self, tokens: Tensor, pattern: str) -> Tensor:
        """Return logits [B, T, vocabulary] under a pattern of F and S, one letter a layer. tokens [B, T]."""
        x, used, angles = self.embed(tokens), None, self.angles(tokens.shape[1])
        for layer, letter in zip(self.layers, pattern, strict=True):
            x, used, _, _ = layer.step(x, used if letter == "S" else None, angles, score=False)
        return self.unembed(x)

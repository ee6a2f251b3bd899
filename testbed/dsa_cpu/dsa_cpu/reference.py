"""A DSA model in float64, from the formulas: the oracle that engines and plugins are tested against.

The whole prompt at once, no cache, no vLLM, no float32; sets are boolean masks, not indices. Written from the
papers (MLA: DeepSeek-V2, arXiv 2405.04434, section 2.1; indexer: DeepSeek-V3.2, arXiv 2512.02556, section
2.1), it shares no code with what it judges.

Where two scores at the edge of a chosen set are closer than float32 can tell (`Outcome.margin`), an engine
may rightly choose otherwise, which changes that row and those that attend to it: `Outcome.sure` says which
rows it leaves alone.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

MODES = ("off", "shadow", "on")


@dataclass(frozen=True)
class Outcome:
    """Holds what a forward pass over n tokens gives. Sites are indexers in execution order; here every layer
    has one.
    """

    logits: Tensor
    """(n, vocabulary) float64."""
    chosen: Tensor
    """(sites, n, n) bool: the positions that each row's attention read."""
    fresh: Tensor
    """(sites, n, n) bool: the positions that the site's own indexer chooses on the same hidden states."""
    scores: Tensor
    """(sites, n, n) float64 index scores, -inf after a row's own position."""
    margin: Tensor
    """(sites, n) float64: k-th score less the next one; infinite where a row has no more than k positions."""
    overlap: Tensor
    """(sites, n) float64: |reused and fresh| / |fresh|; NaN at Full sites and where a row has no more than k
    positions.
    """
    recall: Tensor
    """(sites, n) float64: the share of softmax over the fresh set's scores that the reused set covers; NaN
    like `overlap`.
    """
    reads_own: Tensor
    """(sites, n) bool: whether the row's attention read the site's own choice."""

    def sure(self, margin: float = 1e-5) -> Tensor:
        """Return (n,) bool: rows that no choice decided by less than `margin` has touched, neither their own
        nor one they attend to.
        """
        doubtful = torch.zeros(self.margin.shape[1], dtype=torch.bool)
        close = torch.zeros_like(doubtful)
        for i in range(len(self.margin)):
            # A reused choice is as close as the one it was taken from.
            close = torch.where(self.reads_own[i], self.margin[i] < margin, close)
            doubtful = doubtful | close | (self.chosen[i] & doubtful).any(1)
        return ~doubtful


class Reference:
    """A checkpoint of `DeepseekV32ForCausalLM` or `GlmMoeDsaForCausalLM`, all of its MLPs dense and its
    rotary embedding plain.
    """

    def __init__(self, path: str | Path, dtype: torch.dtype = torch.float64) -> None:
        """Load config.json and model.safetensors. Raises ValueError for a model of another kind."""
        self.config: dict[str, Any] = json.loads(Path(path, "config.json").read_text())
        self.dtype = dtype
        self.weights = {name: w.to(dtype) for name, w in load_file(Path(path, "model.safetensors")).items()}
        self.layers = int(self.config["num_hidden_layers"])
        rope = self.config["rope_parameters"]
        if rope.get("rope_type", "default") != "default":
            raise ValueError(
                f"rope_parameters.rope_type: {rope['rope_type']}; the reference knows 'default' only"
            )
        if self.config["first_k_dense_replace"] < self.layers:
            raise ValueError(
                "first_k_dense_replace: less than num_hidden_layers; the reference has no mixture of experts"
            )
        self.theta = float(rope["rope_theta"])
        self.eps = float(self.config.get("rms_norm_eps", 1e-6))

    @torch.inference_mode()
    def __call__(
        self,
        ids: Sequence[int],
        *,
        pattern: str | None = None,
        mode: str = "on",
        reuse_rows: Tensor | None = None,
        topk: int | None = None,
    ) -> Outcome:
        """Run the forward pass over the tokens `ids`.

        pattern: F or S for each site; None: all Full. mode: `off` and `shadow` choose afresh everywhere, `on`
        lets Shared sites read their leader's choice; overlap and recall compare with that choice in each.
        reuse_rows: (n,) bool, the rows for which `on` holds, all by default. topk: instead of the config's; 0
        attends to everything.
        """
        if pattern is not None and (
            len(pattern) != self.layers or pattern[0] != "F" or set(pattern) - set("FS")
        ):
            raise ValueError(f"pattern: {pattern!r}; expected {self.layers} letters F and S, an F first")
        if mode not in MODES:
            raise ValueError(f"mode: {mode!r}; expected one of {', '.join(MODES)}")
        n, k = len(ids), int(self.config["index_topk"]) if topk is None else topk
        reuse = torch.ones(n, dtype=torch.bool) if reuse_rows is None else reuse_rows
        causal = torch.ones(n, n, dtype=torch.bool).tril()
        cos_sin = self.angles(n)

        hidden = self.weights["model.embed_tokens.weight"][torch.tensor(ids)]
        leader = causal
        sites: list[tuple[Tensor, ...]] = []
        for i in range(self.layers):
            shared = pattern is not None and pattern[i] == "S"
            x = self.norm(hidden, f"model.layers.{i}.input_layernorm")
            q_latent = self.norm(
                self.linear(x, f"model.layers.{i}.self_attn.q_a_proj"),
                f"model.layers.{i}.self_attn.q_a_layernorm",
            )
            scores = self.index_scores(i, x, q_latent, cos_sin).masked_fill(~causal, -torch.inf)
            fresh, margin = (
                choose(scores, k) if k else (causal, torch.full((n,), torch.inf, dtype=self.dtype))
            )
            reads_own = ~reuse if shared and mode == "on" else torch.ones_like(reuse)
            chosen = torch.where(reads_own[:, None], fresh, leader)
            overlap, recall = (
                compare(leader, fresh, scores) if shared else (torch.full_like(margin, torch.nan),) * 2
            )
            few = torch.arange(n) < k
            sites.append(
                (
                    chosen,
                    fresh,
                    scores,
                    margin,
                    overlap.masked_fill(few, torch.nan),
                    recall.masked_fill(few, torch.nan),
                    reads_own,
                )
            )
            leader = leader if shared else fresh

            hidden = hidden + self.attention(i, x, q_latent, cos_sin, chosen)
            hidden = hidden + self.mlp(i, self.norm(hidden, f"model.layers.{i}.post_attention_layernorm"))
        logits = self.linear(self.norm(hidden, "model.norm"), "lm_head")
        return Outcome(logits, *(torch.stack(x) for x in zip(*sites, strict=True)))

    def linear(self, x: Tensor, name: str) -> Tensor:
        """Return x W^T."""
        out: Tensor = x @ self.weights[name + ".weight"].T
        return out

    def norm(self, x: Tensor, name: str) -> Tensor:
        """Return the RMSNorm of x."""
        out: Tensor = (
            x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weights[name + ".weight"]
        )
        return out

    def angles(self, n: int) -> tuple[Tensor, Tensor]:
        """Return cosines and sines (n, rope / 2). The angles themselves are float32, as every implementation
        has them.
        """
        dim = self.config["qk_rope_head_dim"]
        inverse = 1.0 / self.theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
        angle = torch.arange(n, dtype=torch.float32)[:, None] * inverse
        return angle.cos().to(self.dtype), angle.sin().to(self.dtype)

    def index_scores(self, i: int, x: Tensor, q_latent: Tensor, cos_sin: tuple[Tensor, Tensor]) -> Tensor:
        """Return (n, n): the sum over index heads of their weight times relu(q . k), with the model's two
        scales in the weights.
        """
        name = f"model.layers.{i}.self_attn.indexer."
        heads, dim, rope = (
            self.config["index_n_heads"],
            self.config["index_head_dim"],
            self.config["qk_rope_head_dim"],
        )
        rotate = rotate_pairs if self.config.get("indexer_rope_interleave", False) else rotate_halves
        q = self.linear(q_latent, name + "wq_b").view(-1, heads, dim)
        k = F.layer_norm(
            self.linear(x, name + "wk"),
            (dim,),
            self.weights[name + "k_norm.weight"],
            self.weights[name + "k_norm.bias"],
            eps=1e-6,
        )
        q = torch.cat([rotate(q[..., :rope], cos_sin), q[..., rope:]], -1)
        k = torch.cat([rotate(k[:, None, :rope], cos_sin)[:, 0], k[:, rope:]], -1)
        weights = self.linear(x, name + "weights_proj") * dim**-0.5 * heads**-0.5
        return torch.einsum("ths,th->ts", F.relu(torch.einsum("thd,sd->ths", q, k)), weights)

    def attention(
        self, i: int, x: Tensor, q_latent: Tensor, cos_sin: tuple[Tensor, Tensor], chosen: Tensor
    ) -> Tensor:
        """Return (n, hidden): MLA, in its form with keys and values of each head written out, over the chosen
        positions.
        """
        c, name = self.config, f"model.layers.{i}.self_attn."
        nope, rope, heads, lora = (
            c["qk_nope_head_dim"],
            c["qk_rope_head_dim"],
            c["num_attention_heads"],
            c["kv_lora_rank"],
        )
        q_nope, q_rope = torch.split(
            self.linear(q_latent, name + "q_b_proj").view(-1, heads, nope + rope), [nope, rope], -1
        )
        latent, k_rope = torch.split(self.linear(x, name + "kv_a_proj_with_mqa"), [lora, rope], -1)
        latent = self.norm(latent, name + "kv_a_layernorm")
        k_nope, v = torch.split(
            self.linear(latent, name + "kv_b_proj").view(-1, heads, nope + c["v_head_dim"]),
            [nope, c["v_head_dim"]],
            -1,
        )
        q_rope, k_rope = rotate_pairs(q_rope, cos_sin), rotate_pairs(k_rope[:, None], cos_sin)[:, 0]
        logits = torch.einsum("thd,shd->hts", q_nope, k_nope) + torch.einsum("thd,sd->hts", q_rope, k_rope)
        weights = (logits * (nope + rope) ** -0.5).masked_fill(~chosen, -torch.inf).softmax(-1)
        return self.linear(torch.einsum("hts,shd->thd", weights, v).flatten(1), name + "o_proj")

    def mlp(self, i: int, x: Tensor) -> Tensor:
        """Return the SwiGLU of x."""
        name = f"model.layers.{i}.mlp."
        return self.linear(
            F.silu(self.linear(x, name + "gate_proj")) * self.linear(x, name + "up_proj"), name + "down_proj"
        )


def rotate_pairs(x: Tensor, cos_sin: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate pairs (0, 1), (2, 3), ... of (n, heads, rope)."""
    cos, sin = (a[:, None] for a in cos_sin)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)


def rotate_halves(x: Tensor, cos_sin: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate pairs (0, d/2), (1, d/2 + 1), ... of (n, heads, rope)."""
    cos, sin = (a[:, None] for a in cos_sin)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def choose(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k best positions of each row as a mask (n, n), ties to the earlier, and the margin (n,) by
    which they were chosen.
    """
    n = scores.shape[1]
    best = scores.sort(dim=-1, descending=True, stable=True)
    mask = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, best.indices[:, :k], True) & (
        scores > -torch.inf
    )
    margin = torch.full((scores.shape[0],), torch.inf, dtype=scores.dtype)
    if n > k:
        enough = best.values[:, k] > -torch.inf
        margin[enough] = (best.values[:, k - 1] - best.values[:, k])[enough]
    return mask, margin


def compare(reused: Tensor, fresh: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return overlap and recall of score mass, (n,) each, of masks (n, n)."""
    overlap = (reused & fresh).sum(1).to(scores.dtype) / fresh.sum(1)
    mass = scores.masked_fill(~fresh, -torch.inf).softmax(-1)
    return overlap, (mass * reused).sum(1)

"""A small DSA checkpoint with random weights in which the choice of positions matters and is never decided by
a tie.

Weights at the usual 0.02 give flat attention, where a wrong choice would hardly show: the gains here make it
show. With few index heads, ReLU silences all of them for many positions at once and scores tie; 16 heads
leave none.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

CONFIG: dict[str, Any] = {
    "vocab_size": 256,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "q_lora_rank": 64,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 24,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "index_topk": 64,
    "index_n_heads": 16,
    "index_head_dim": 32,
    "first_k_dense_replace": 4,
    "moe_intermediate_size": 64,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "routed_scaling_factor": 2.5,
    "norm_topk_prob": True,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "attention_bias": False,
    "tie_word_embeddings": False,
    "max_position_embeddings": 2048,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "bos_token_id": 2,
    "eos_token_id": 1,
    "dtype": "float32",
}
KINDS: dict[str, dict[str, Any]] = {
    "DeepseekV32ForCausalLM": {"model_type": "deepseek_v32"},
    "GlmMoeDsaForCausalLM": {"model_type": "glm_moe_dsa", "indexer_rope_interleave": True},
}
GAINS = {
    "q_b_proj": 1.5,
    "weights_proj": 3.0,
    "o_proj": 0.5,
    "down_proj": 0.5,
    "embed_tokens": 11.0,
    "lm_head": 3.0,
}


def shapes(config: dict[str, Any] = CONFIG) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of all weights, as Hugging Face has them. All layers are dense."""
    c = config
    hidden, heads, latent, wide = (
        c["hidden_size"],
        c["num_attention_heads"],
        c["q_lora_rank"],
        c["intermediate_size"],
    )
    nope, rope, v, dim = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"], c["index_head_dim"]
    layer = {
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
        "self_attn.q_a_proj": (latent, hidden),
        "self_attn.q_a_layernorm": (latent,),
        "self_attn.q_b_proj": (heads * (nope + rope), latent),
        "self_attn.kv_a_proj_with_mqa": (c["kv_lora_rank"] + rope, hidden),
        "self_attn.kv_a_layernorm": (c["kv_lora_rank"],),
        "self_attn.kv_b_proj": (heads * (nope + v), c["kv_lora_rank"]),
        "self_attn.o_proj": (hidden, heads * v),
        "self_attn.indexer.wq_b": (c["index_n_heads"] * dim, latent),
        "self_attn.indexer.wk": (dim, hidden),
        "self_attn.indexer.k_norm": (dim,),
        "self_attn.indexer.weights_proj": (c["index_n_heads"], hidden),
        "mlp.gate_proj": (wide, hidden),
        "mlp.up_proj": (wide, hidden),
        "mlp.down_proj": (hidden, wide),
    }
    out: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (c["vocab_size"], hidden),
        "lm_head.weight": (c["vocab_size"], hidden),
    }
    for i in range(c["num_hidden_layers"]):
        out |= {f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()}
        out[f"model.layers.{i}.self_attn.indexer.k_norm.bias"] = (dim,)
    return out | {"model.norm.weight": (hidden,)}


def write(folder: Path, architecture: str, seed: int, **changes: Any) -> None:
    """Write config.json and model.safetensors, float32, of one of KINDS. `changes`: fields of CONFIG with
    other values.
    """
    config = CONFIG | changes
    g = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes(config).items():
        w = torch.randn(shape, generator=g)
        if len(shape) == 2:
            w *= GAINS.get(name.split(".")[-2], 1.0) * shape[1] ** -0.5
        else:  # norms and the one bias: off their defaults, so that leaving one out shows
            w = 0.2 * w + (0.0 if name.endswith("bias") else 1.0)
        weights[name] = w
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(
        json.dumps(config | KINDS[architecture] | {"architectures": [architecture]}, indent=1)
    )

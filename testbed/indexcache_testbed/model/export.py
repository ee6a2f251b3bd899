"""Writes the trained model as a Hugging Face checkpoint that vLLM loads as `DeepseekV32ForCausalLM`, and
reads it back.

    python -m indexcache_testbed.model.export DIR/seed-1/checkpoint.pt testbed/models/tiny_dsa

The parameter names are the checkpoint's already. The tokenizer has one word a token, separated by blanks: s0
... s511, <bos>, <ask>; it adds nothing to a prompt, so a prompt begins with <bos>. Serve with
`--tokenizer-mode hf`.

Trap: vLLM takes the number of dense layers from first_k_dense_replace, Hugging Face from mlp_layer_types; the
sizes of experts are read by both though no layer has any.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from .architecture import EPS, THETA, Model, Shape
from .questions import BOS, EOS, UNKNOWN, WORDS

CONTEXT = 2048
"""Most tokens of a sequence; the longest measured one has 1,009."""


def config(shape: Shape, dtype: torch.dtype) -> dict[str, Any]:
    """Return the content of config.json."""
    return {
        "architectures": ["DeepseekV32ForCausalLM"],
        "model_type": "deepseek_v32",
        "dtype": str(dtype).removeprefix("torch."),
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "q_lora_rank": shape.q_lora,
        "kv_lora_rank": shape.kv_lora,
        "qk_nope_head_dim": shape.nope,
        "qk_rope_head_dim": shape.rope,
        "v_head_dim": shape.value,
        "index_topk": shape.topk,
        "index_n_heads": shape.index_heads,
        "index_head_dim": shape.index_head,
        "rope_parameters": {"rope_type": "default", "rope_theta": THETA},
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": EPS,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "tie_word_embeddings": False,
        "use_cache": True,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "first_k_dense_replace": shape.layers,
        "mlp_layer_types": ["dense"] * shape.layers,
        "moe_intermediate_size": 64,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
    }


def tokenizer() -> dict[str, Any]:
    """Return the content of tokenizer.json."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {w: i for i, w in enumerate(WORDS)},
            "unk_token": WORDS[UNKNOWN],
        },
    }


def tokenizer_config() -> dict[str, Any]:
    """Return the content of tokenizer_config.json."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": WORDS[BOS],
        "eos_token": WORDS[EOS],
        "unk_token": WORDS[UNKNOWN],
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
    }


def export(
    state: dict[str, torch.Tensor],
    folder: Path,
    shape: Shape | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Write config, weights and tokenizer into the folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.to(dtype).contiguous() for k, v in state.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for name, content in (
        ("config.json", config(shape or Shape(), dtype)),
        ("generation_config.json", {"bos_token_id": BOS, "eos_token_id": EOS}),
        ("tokenizer.json", tokenizer()),
        ("tokenizer_config.json", tokenizer_config()),
    ):
        (folder / name).write_text(json.dumps(content, indent=2 if name == "config.json" else None) + "\n")


def load(folder: Path) -> Model:
    """Load the model of a checkpoint, in float32. Raises RuntimeError, naming the parameters, if weights and
    config disagree.
    """
    c = json.loads((folder / "config.json").read_text())
    shape = Shape(
        vocabulary=c["vocab_size"],
        layers=c["num_hidden_layers"],
        hidden=c["hidden_size"],
        heads=c["num_attention_heads"],
        q_lora=c["q_lora_rank"],
        kv_lora=c["kv_lora_rank"],
        nope=c["qk_nope_head_dim"],
        rope=c["qk_rope_head_dim"],
        value=c["v_head_dim"],
        intermediate=c["intermediate_size"],
        index_heads=c["index_n_heads"],
        index_head=c["index_head_dim"],
        topk=c["index_topk"],
    )
    model = Model(shape)
    model.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    return model.eval()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("trained", type=Path, help="checkpoint.pt of a training")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    export(torch.load(args.trained, map_location="cpu", weights_only=True)["state"], args.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A process of its own: vLLM without our runtime, under its own static pattern; Shared layers have no indexers in the checkpoint, as usual.

python -m tests.gpu.static_pattern FOLDER PATTERN OPTIONS [[PROMPTS], TOKENS]

prints the answers' tokens as JSON, twice asked, on the line that begins with ANSWERS.
"""

import json
import re
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

from tests.gpu.cuda_binding import WIDTHS, engine

ANSWERS = "answers: "


def strip(folder: Path, pattern: str) -> None:
    """Take the indexers of Shared layers out of a checkpoint."""
    path = folder / "model.safetensors"
    kept = {
        name: w
        for name, w in load_file(path).items()
        if not ((m := re.search(r"layers\.(\d+)\..*\.indexer\.", name)) and pattern[int(m[1])] == "S")
    }
    save_file(kept, path, metadata={"format": "pt"})


def main() -> None:
    """See above."""
    folder, pattern, options, work = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
    from dsa_cpu import random_model

    random_model.write(folder, "DeepseekV32ForCausalLM", seed=0, **WIDTHS)
    strip(folder, pattern)
    llm = engine(folder, hf_overrides={"index_topk_pattern": pattern}, **options)
    from vllm import SamplingParams

    params = SamplingParams(max_tokens=work[1], temperature=0, ignore_eos=True, detokenize=False)
    answers = []
    for _ in range(2):
        assert llm.reset_prefix_cache()
        outputs = [llm.generate([{"prompt_token_ids": p}], params, use_tqdm=False)[0].outputs[0] for p in work[0]]
        answers.append([list(o.token_ids) for o in outputs])
    print(ANSWERS + json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()

"""A process of its own: vLLM without our runtime, under its own static pattern; Shared layers have no
indexers in the checkpoint, as usual.

python -m tests.gpu.static_pattern FOLDER PATTERN OPTIONS [[PROMPTS], TOKENS]

prints tokens and log-probabilities of the answers as JSON, twice asked, on the line that begins with ANSWERS.
"""

import json
import re
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

from tests.conformance.engine import Engine
from tests.gpu.cuda_binding import WIDTHS, Cuda, engine

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
    folder, pattern, options, work = (
        Path(sys.argv[1]),
        sys.argv[2],
        json.loads(sys.argv[3]),
        json.loads(sys.argv[4]),
    )
    from dsa_cpu import random_model

    random_model.write(folder, "DeepseekV32ForCausalLM", seed=0, **WIDTHS)
    strip(folder, pattern)
    e = Engine(engine(folder, hf_overrides={"index_topk_pattern": pattern}, **options), Cuda())
    answers = []
    for _ in range(2):
        e.forget()
        answers.append([[list(a.tokens), list(a.logprobs)] for a in e.ask_each(work[0], work[1])])
    print(ANSWERS + json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()

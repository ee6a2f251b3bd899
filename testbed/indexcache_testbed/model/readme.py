"""Renders testbed/models/README.md from what training and measuring wrote, so that no figure there is typed.

python -m indexcache_testbed.model.readme testbed/models
"""

import json
import sys
from pathlib import Path
from typing import Any

from .patterns import Chosen, PatternTable, choose

INTRO = """# The tiny model

`tiny_dsa/` is a DeepSeek-V3.2 model (`DeepseekV32ForCausalLM`) small enough for a CPU and for git, that has really learned something: it
looks up values in tables of key-value pairs in its context. Eight layers, an indexer in each, k = {topk}. Rendered from `patterns.json` and
`training.jsonl` by `python -m indexcache_testbed.model.readme`.

Its use: patterns of Full (F) and Shared (S) layers really help or harm its answers, as they do a large model's, and every right answer is
known. {good} keeps the answers, {harmful} ruins them at once, and {drift} ruins them only when contexts grow.
"""


def render(folder: Path) -> str:
    """Return the page, for a folder with one model in tiny_dsa/."""
    table = PatternTable.load(folder / "tiny_dsa/patterns.json")
    chosen, training = choose(table), _training(folder / "tiny_dsa/training.jsonl")
    full = "F" * table.sites
    rows = [(full, "all Full"), (chosen.good, "good"), (chosen.drift, "drift"), (chosen.harmful, "harmful")]
    rows += [
        ("FS" * (table.sites // 2), "uniform, every second"),
        ("FSSS" * (table.sites // 4), "uniform, every fourth"),
    ]
    parts = [
        INTRO.format(
            topk=table.topk, good=f"`{chosen.good}`", harmful=f"`{chosen.harmful}`", drift=f"`{chosen.drift}`"
        ),
        f"## Answers right, by size of the table\n\n{_answers(table, rows)}",
        f"## One layer Shared\n\nWhat predicts harm, at {table.sizes[-1].pairs} pairs, measured with all "
        f"layers Full.\n\n{_single(table)}",
        f"## How it was trained\n\n{training}",
        _thresholds(chosen),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _answers(table: PatternTable, rows: list[tuple[str, str]]) -> str:
    contexts = " | ".join(f"{s.pairs} pairs, {s.context[0]}-{s.context[1]} tokens" for s in table.sizes)
    lines = [f"| pattern | | {contexts} |", "|---|---|" + "---|" * len(table.sizes)]
    for pattern, what in rows:
        cells = " | ".join(f"{100 * table.right(pattern, s.pairs):.1f} %" for s in table.sizes)
        lines.append(f"| `{pattern}` | {what} | {cells} |")
    return "\n".join([*lines, "", f"{table.sizes[0].questions} questions a cell."])


def _single(table: PatternTable) -> str:
    largest = table.sizes[-1].pairs
    lines = ["| Shared layer | set overlap | recall of score mass | points lost |", "|---|---|---|---|"]
    for i in range(1, table.sites):
        pattern = "F" * i + "S" + "F" * (table.sites - i - 1)
        reuse = table.reuse_shadow(pattern, largest)[i]
        lost = 100 * (table.right("F" * table.sites, largest) - table.right(pattern, largest))
        lines.append(f"| {i} | {reuse.overlap:.2f} | {reuse.recall:.2f} | {lost:.1f} |")
    return "\n".join(lines)


def _training(path: Path) -> str:
    events: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    start, end = events[0], events[-1]
    stages = [e for e in events if e["event"] == "stage ends" and e["seed"] == end["seed"]]
    steps = ", ".join(f"{e['stage']} {e['step']:,} steps to {e['t']:.0f} s" for e in stages)
    return (
        f"On one {start['hardware']} with torch {start['torch']}: {steps}; measured by {end['t']:.0f} s. "
        f"Seeds tried: {end['tried']}. Seed: {end['seed']}.\n\n"
        "    PYTHONPATH=testbed python -m indexcache_testbed.model.train --out DIR --seed 1 2 --budget 230\n"
        "    python -m indexcache_testbed.model.export DIR/seed-1/checkpoint.pt testbed/models/tiny_dsa"
    )


def _thresholds(chosen: Chosen) -> str:
    r = chosen.recall
    return (
        "## Where a threshold of recall may lie\n\n"
        f"Lowest recall over the Shared indexers, in shadow: good pattern {r['good']:.2f} at its worst size; "
        "drift pattern "
        f"{r['drift_short']:.2f} on short tables and {r['drift_long']:.2f} on the longest; harmful pattern "
        f"{r['harmful']:.2f}."
    )


if __name__ == "__main__":
    target = Path(sys.argv[1])
    (target / "README.md").write_text(render(target))

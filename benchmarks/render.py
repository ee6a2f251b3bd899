"""Figures of the README, rendered from the files of results: none is typed.

python -m benchmarks.render        writes the README's block
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- cuda_runtime.json, by benchmarks/render.py -->", "<!-- end -->"
ROWS = {
    "prefill_200k_speedup": ("prefill of 200K tokens: all Full of vLLM alone, over ours under reuse", "at least 1.80"),
    "decode_200k_speedup": ("decoding at 200K, the same", "at least 1.16"),
    "decode_full_cache_speedup": ("decoding with the cache full of 200K contexts, the same", "1.5"),
    "prefill_on_over_native": ("prefill under reuse, over vLLM's own static pattern", "at most 1.01"),
    "decode_on_over_native": ("decoding, the same", "at most 1.01"),
    "off_over_unpatched": ("off, over vLLM without the runtime", "at most 1.005"),
    "shadow_over_off": ("shadow, over off", "at most 1.01"),
    "on_measured_over_on": ("reuse with measurement, over reuse without", "at most 1.01"),
    "kill_p99_ms": ("a kill with 64 requests decoding, to the first all-Full step: 99th percentile, ms", "at most 50"),
    "kill_in_prefill_ms": ("a kill in the middle of a prefill of 120K: the next step, ms", ""),
    "new_pattern_s": ("a new pattern under load, to its own full graphs, s", "at most 5"),
    "tainted_blocks": ("cached blocks computed under reuse that were served after a kill", "0"),
    "graphs_gib": ("memory of a pattern's graphs, GiB", "at most 1"),
    "scratch_gib": ("memory of measurement, GiB", "at most 1"),
}
"""By the name of the row: what it is, and the aim."""


def block(data: dict[str, Any]) -> str:
    """The table, with what it was measured on."""
    found = {row["name"]: row for row in data["rows"]}
    lines = ["| on one GPU | measured | aim | |", "|---|---|---|---|"]
    for name, (what, aim) in ROWS.items():
        if row := found.get(name):
            scope = row["unit"].partition(", ")[2]
            lines.append(f"| {what} | {row['value']:.4g} | {aim} | {scope} |")
        else:
            lines.append(f"| {what} | not measured yet | {aim} | |")
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    return "\n".join([*lines, "", f"{data['hardware']}; {versions}; {data['date']}. A ratio over contexts is its worst."])


def rendered(readme: str, results: str) -> str:
    """The README with its block current."""
    before, _, rest = readme.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"README.md: no block between {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{block(json.loads(results))}\n{END}{after}"


def main() -> None:
    """See above."""
    readme = ROOT / "README.md"
    readme.write_text(rendered(readme.read_text(), (ROOT / "benchmarks/results/cuda_runtime.json").read_text()))


if __name__ == "__main__":
    sys.exit(main())

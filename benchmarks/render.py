"""Renders the tables of docs/performance.md, docs/statistics.md and docs/reliability.md, and the picture of
evidence, from the files of results: none of their figures is typed.

python -m benchmarks.render        rewrites the tables and the picture
"""

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.evidence_picture import picture

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
PAGE = ROOT / "docs/performance.md"
PICTURE = ROOT / "docs/images/evidence.svg"
STATISTICS = ROOT / "docs/statistics.md"
RELIABILITY = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- {file}, by benchmarks/render.py -->", "<!-- end -->"
"""Lines of the page between which a table stands; `file` is the file of results that it comes from."""
ROWS = {
    "prefill_200k_speedup": (
        "prefill of 200K tokens: all Full of vLLM alone by its defaults, over ours under reuse",
        "at least 1.85",
    ),
    "prefill_200k_fast": (
        "prefill of 200K tokens: all Full of vLLM alone by its defaults, over ours with indexer Fast",
        "at least 2.0",
    ),
    "prefill_200k_7_of_47_fast": ("the same, with 7 Full layers of 47 in place of 13", "at least 2.3"),
    "decode_200k_speedup": ("decoding at 200K, the same", "at least 1.25"),
    "decode_200k_fast": (
        "decoding at 200K: all Full of vLLM alone by its defaults, over ours with indexer Fast",
        "at least 1.28",
    ),
    "decode_full_cache_speedup": ("decoding with the cache full of 200K contexts, the same", "1.5"),
    "decode_full_cache_fast": ("the same, with indexer Fast", "over vLLM's own pattern"),
    "prefill_on_over_native": ("prefill under reuse, over vLLM's own static pattern", "at most 1.01"),
    "decode_on_over_native": ("decoding, the same", "at most 1.01"),
    "off_over_unpatched": ("off, over vLLM without the runtime", "at most 1.005"),
    "shadow_over_off": ("shadow, over off", "at most 1.01"),
    "on_measured_over_on": ("reuse with measurement, over reuse without", "at most 1.01"),
    "kill_p99_ms": (
        "a kill with 64 requests decoding, to the first all-Full step: 99th percentile, ms",
        "at most 50",
    ),
    "kill_in_prefill_ms": ("a kill in the middle of a prefill of 120K: the next step, ms", ""),
    "new_pattern_s": ("a new pattern under load, to its own full graphs, s", "at most 5"),
    "tainted_blocks": ("cached blocks computed under reuse that were served after a kill", "0"),
    "graphs_gib": ("memory of a pattern's graphs, GiB", "at most 1"),
    "scratch_gib": ("memory of measurement, GiB", "at most 1"),
}
"""By the name of the row: what it is, and the aim. The baseline is vLLM by its defaults."""
EVIDENCE = {
    "healthy_at_min_": "every mean exactly at its threshold: falsely stopped",
    "healthy_05_over_": "every mean .05 over it: falsely stopped",
    "healthy_10_over_": "every mean .10 over it: falsely stopped",
    "bad_02_under_": "every mean .02 under it: certified",
}
"""By the beginning of the rows' names: what it is."""
SCALE = {
    "rss_mib": ("memory, resident, at most, MiB", "at most 150"),
    "cores": ("processor time, cores", "at most 0.2"),
    "api_writes": ("writes to the API server, in all", "0"),
    "api_reads": ("reads from it beside watches, a second", "at most 1"),
    "kill_s": ("a kill by annotation, to the last engine, at most, s", "at most 1"),
    "looks": ("looks at rollouts, a second", ""),
    "engine_calls": ("calls to engines, a second", ""),
    "settled_s": ("from the operator's start, with nothing deployed, until all is as wanted, s", ""),
}
"""By the name of the row: what it is, and the aim."""
LIVE = {
    "drift_to_off_s": ("from the breach in the engines' counters to reuse off everywhere, s", "at most 1"),
    "drift_to_zero_s": ("the same, to the canary's traffic at 0, s", "at most 3"),
    "drifts_wrong": ("of these, with another end than it should have, or a request that failed", "0"),
    "deaths_wrong": ("the same of rollouts whose operator was killed at a random moment", "0"),
}
"""By the name of the row: what it is, and the aim."""
CHAOS = {
    "api_faults": "calls to the API server fail",
    "watches": "watches break, and some calls fail beside",
    "deaths": "its operator is killed after a look or a write",
    "two_operators": "two operators act at once",
    "leaders": "the leader changes ten times",
}
"""By the name of the row: what it is."""
OTHER = ("prefill_200k_speedup", "decode_200k_speedup", "prefill_on_over_native", "decode_on_over_native")
"""Rows that are also taken under the other backend that is supported."""
MORE_SCORES = (
    "prefill_200k_speedup",
    "prefill_200k_fast",
    "prefill_200k_7_of_47_fast",
    "decode_200k_speedup",
    "decode_200k_fast",
)
"""Rows that are also taken with more memory for a prefill's index scores."""


def block(data: dict[str, Any], more_scores: dict[str, Any]) -> str:
    """Return the table, each row with what it was measured on. more_scores: speedups with more memory for a
    prefill's index scores.
    """
    lines = ["| on one GPU | measured | aim | |", "|---|---|---|---|"]
    lines += [_line(data, name, what, aim) for name, (what, aim) in ROWS.items()]
    for name in OTHER:
        other = f"{ROWS[name][0].replace(', the same', '')}, ours with --attention-backend=FLASHMLA_SPARSE"
        lines.append(_line(data, f"{name}_flashmla_sparse", other, ""))
    for name in MORE_SCORES:
        lines.append(
            _line(more_scores, name, f"{ROWS[name][0]}, with VLLM_SPARSE_INDEXER_MAX_LOGITS_MB=4096", "")
        )
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    return "\n".join([*lines, "", f"{versions}. A ratio over contexts is its worst."])


def _line(data: dict[str, Any], name: str, what: str, aim: str) -> str:
    row = next((row for row in data["rows"] if row["name"] == name), None)
    if row is None:
        return f"| {what} | not measured yet | {aim} | |"
    said = [f"{row['low']:.4g} to {row['high']:.4g}"] if "low" in row else []
    if isinstance(row["samples"], dict) and "native" in row["samples"]:
        said.append(f"vLLM's own pattern: {row['samples']['native']:.4g}")
    beside = f" ({'; '.join(said)})" if said else ""
    taken = ", ".join([*row["unit"].split(", ")[1:], row["hardware"], f"at {row['commit'][:7]}"])
    return f"| {what} | {row['value']:.4g}{beside} | {aim} | {taken} |"


def off_cost(data: dict[str, Any]) -> str:
    """Return the table of what the runtime costs on a CPU while it is off, with an interval of 95 % in each
    row.
    """
    lines = ["| with the runtime off, over vLLM without it | ratio | interval of 95 % |", "|---|---|---|"]
    lines += [
        f"| {row['name']} | {row['value']:.4f} | {row['low']:.4f} to {row['high']:.4f} |"
        for row in data["rows"]
    ]
    return "\n".join(
        [*lines, "", f"{data['hardware']}, vLLM {data['versions']['vllm']}, at {data['commit'][:7]}."]
    )


def evidence(data: dict[str, Any]) -> str:
    """Return the table of how often the evidence errs, each the worst of a grid, and of how soon it tells."""
    lines = ["| | errors, in runs | aim |", "|---|---|---|"]
    for place, what in EVIDENCE.items():
        for cluster in (1, 5, 50):
            cells = [
                row
                for row in data["rows"]
                if row["name"].startswith(place) and row["name"].endswith(f"_cluster{cluster}")
            ]
            worst = max(cells, key=lambda row: float(row["value"]))
            low, high = worst["interval"]
            one = "each for itself" if cluster == 1 else f"in clusters of {cluster}"
            found = f"{worst['value']:.3f} ({low:.3f} to {high:.3f})"
            lines.append(f"| {what}, {one} | {found} | at most {worst['aim']:g} |")
    lines += [
        "",
        "| from a fall to a breach | requests, median | aim | no test needs fewer than |",
        "|---|---|---|---|",
    ]
    for row in (row for row in data["rows"] if row["name"].startswith("found_")):
        _, fall, good = row["name"].split("_")
        before, after = fall.removeprefix("fall").split("to")
        lines.append(
            f"| recall .{before} to .{after}, after {int(good.removeprefix('after')):,} good requests "
            f"| {row['value']:.0f} | at most {row['aim']} | {row['bound']:.0f} |"
        )
    runs, versions = data["rows"][0]["runs"], data["versions"]
    return "\n".join(
        [*lines, "", f"{runs} runs of a cell, numpy {versions['numpy']}, at {data['commit'][:7]}."]
    )


def rollouts(data: dict[str, Any]) -> str:
    """Return the table of how long a good pattern takes until it is promoted, and where its time goes."""
    lines = [
        "| requests a minute | promoted | rejected | hours to the promotion, median | in shadow | in steps "
        "| held at the baseline |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in (row for row in data["rows"] if row["name"].startswith("promoted_at_")):
        rate = row["name"].removeprefix("promoted_at_").removesuffix("_a_minute")
        each = " | ".join(f"{row['hours'][where]:.1f}" for where in ("shadow", "steps", "held"))
        ended = f"{row['promoted']} of {row['runs']} | {row['rejected']}"
        lines.append(f"| {rate} | {ended} | {row['value']:.1f} | {each} |")
    return "\n".join([*lines, "", f"At {data['commit'][:7]}."])


def scale(data: dict[str, Any]) -> str:
    """Return the table of what the operator takes at size, where nothing is in motion."""
    found = {row["name"]: row for row in data["rows"]}
    size = found["rss_mib"]["unit"].partition(", ")[2]
    lines = [f"| {size} | measured | aim |", "|---|---|---|"]
    for name, (what, aim) in SCALE.items():
        measured = f"{found[name]['value']:.4g}" if name in found else "not measured yet"
        lines.append(f"| {what} | {measured} | {aim} |")
    said = f"Watched for {found['api_writes']['unit'].partition(', ')[0].removeprefix('in ')}"
    if kills := found.get("kill_s"):
        said += f"; {len(kills['samples'])} kills, median {kills['median']:.2f} s"
    return "\n".join([*lines, "", f"{said}. {data['hardware']}, at {data['commit'][:7]}."])


def live(data: dict[str, Any]) -> str:
    """Return the table of scenarios that were played again and again on the testbed."""
    found = {row["name"]: row for row in data["rows"]}
    lines = ["| on the testbed | measured | aim |", "|---|---|---|"]
    for name, (what, aim) in LIVE.items():
        lines.append(
            f"| {what} | {_live(name, found[name]) if name in found else 'not measured yet'} | {aim} |"
        )
    taken = [f"{data['hardware']}, at {data['commit'][:7]}."] if found else []
    return "\n".join([*lines, "", *taken])


def _live(name: str, row: dict[str, Any]) -> str:
    beside = row["unit"].removeprefix("s, ")
    if name.endswith("_s"):
        beside += f"; median {statistics.median(row['samples']):.2f}"
    return f"{row['value']:.3g} ({beside})"


def chaos(data: dict[str, Any]) -> str:
    """Return the table of what befell rollouts, and how many of them went wrong."""
    found = {row["name"]: row for row in data["rows"]}
    lines = ["| what befalls a rollout | rollouts | in all | gone wrong |", "|---|---|---|---|"]
    for name, what in CHAOS.items():
        if name in found:
            counts = found[name]["samples"]
            lines.append(
                f"| {what} | {counts['runs']:,} | {_befell(name, counts)} | {found[name]['value']:.0f} |"
            )
    return "\n".join([*lines, "", f"At {data['commit'][:7]}."])


def _befell(name: str, counts: dict[str, Any]) -> str:
    """Return how often it befell them."""
    if counts.get("faults"):
        kinds = len(counts["faults"])
        of = f"{kinds} kind" + "s" * (kinds != 1)
        return f"{sum(counts['faults'].values()):,} faults, of {of}, in {counts['calls']:,} calls"
    if name == "deaths":
        return f"{counts['deaths']:,} deaths, among {counts['writes']:,} writes"
    refused = f"{counts['refused']:,} writes refused by a fence"
    return f"{counts['leader_changes']:,} changes, {refused}" if name == "leaders" else refused


def flood(data: dict[str, Any]) -> str:
    """Return the table of what strangers cost an engine, by kind of flood."""
    lines = [
        "| what strangers do | steps of the engine, over those without it | the same, by its processor time "
        "| memory, at most, MiB more | a kill among them, at most, s |",
        "|---|---|---|---|---|",
        "| aim | at least 0.9 | at least 0.9 | at most 32 | at most 1 |",
    ]
    found = {row["name"]: row for row in data["rows"]}
    for kind in [name.removeprefix("steps, ") for name in found if name.startswith("steps, ")]:
        steps, work, memory, kill = (
            found[f"{what}, {kind}"]["value"] for what in ("steps", "work", "memory", "kill")
        )
        lines.append(f"| {kind} | {steps:.2f} | {work:.2f} | {memory:.1f} | {kill:.2f} |")
    row = next(iter(found.values()))
    return "\n".join(
        [*lines, "", f"vLLM {data['versions']['vllm']} on {row['hardware']}, at {data['commit'][:7]}."]
    )


def flood_webhook(data: dict[str, Any]) -> str:
    """Return the table of what strangers at the webhook cost the operator, by kind of flood."""
    lines = [
        "| what strangers do at the webhook | a kill among them, to the last engine, at most, s | "
        "its liveness answers, s | memory, at most, MiB more |",
        "|---|---|---|---|",
        "| aim | at most 1 | | at most 32 |",
    ]
    found = {row["name"]: row["value"] for row in data["rows"]}
    for kind in [name.removeprefix("kill, ") for name in found if name.startswith("kill, ")]:
        kill, alive, memory = (found[f"{what}, {kind}"] for what in ("kill", "alive", "memory"))
        lines.append(f"| {kind} | {kill:.2f} | {alive:.2f} | {memory:.1f} |")
    return "\n".join([*lines, "", f"{data['hardware']}, at {data['commit'][:7]}."])


def rendered(page: str, tables: dict[str, str]) -> str:
    """Return the page with each table, by its file of results, in its place.

    Raises:
        SystemExit: a table's place is not on the page.
    """
    for file, table in tables.items():
        begin = BEGIN.format(file=file)
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(END)
        if not found:
            raise SystemExit(
                f"no lines {begin!r} and {END!r}; expected a table's place between them; put them back"
            )
        page = f"{before}{begin}\n{table}\n{END}{after}"
    return page


def tables() -> dict[Path, dict[str, str]]:
    """Return the tables by page and by their file of results."""
    cuda, more_scores = (_read(name) for name in ("cuda_runtime.json", "cuda_runtime_4096.json"))
    speed = {"cuda_runtime.json": block(cuda, more_scores), "off_cost.json": off_cost(_read("off_cost.json"))}
    statistics = {
        "evidence.json": evidence(_read("evidence.json")),
        "rollouts.json": rollouts(_read("rollouts.json")),
    }
    failures = {
        "scale.json": scale(_read("scale.json")),
        "live.json": live(_read("live.json") if (RESULTS / "live.json").exists() else {"rows": []}),
        "chaos.json": chaos(_read("chaos.json")),
        "flood.json": flood(_read("flood.json")),
        "flood_webhook.json": flood_webhook(_read("flood_webhook.json")),
    }
    return {PAGE: speed, STATISTICS: statistics, RELIABILITY: failures}


def evidence_traced() -> str:
    """Return the picture of a rollout's evidence over time."""
    trace = next(row for row in _read("rollouts.json")["rows"] if row["name"] == "trace")
    return picture(trace["samples"])


def _read(name: str) -> dict[str, Any]:
    """Return what is in a file of results."""
    found: dict[str, Any] = json.loads((RESULTS / name).read_text())
    return found


def main() -> None:
    """Rewrite the tables of the pages, and the picture."""
    for page, found in tables().items():
        page.write_text(rendered(page.read_text(), found))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(evidence_traced())


if __name__ == "__main__":
    main()

"""Measures how often the chart's alerts fire on healthy patterns: the rules as they are shipped, by promtool,
on evidence by the operator's own detector.

python -m benchmarks.alerts --bin FOLDER [--streams 200] [--hours 24] [--rate 2]

FOLDER holds helm and promtool. One observation a request, its mean exactly at the threshold, which is the
worst that counts as healthy, or above it.
"""

import argparse
import random
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml
from indexcache_core.contexts import JUDGED
from indexcache_core.evidence import detector
from indexcache_core.evidence.guardrails import operators_alpha, tests_alpha
from indexcache_core.evidence.verdict import log_limit
from indexcache_core.histogram import of

ROOT = Path(__file__).parents[1]
THRESHOLD, SPREAD, FALSE_ROLLBACK = 0.36, 0.10, 0.01
LIMIT = log_limit(tests_alpha(operators_alpha(FALSE_ROLLBACK, engines_judge=True), 1, len(JUDGED)))
"""Of one guardrail that acts, in nats."""
FIRED = (
    'count(count_over_time(ALERTS{alertname="IndexCacheEvidenceAgainstPattern",alertstate="firing"}[%dm]))'
)


def evidence(mean: float, *, rate: float, minutes: int, seed: int) -> list[float]:
    """Return the log e-value, minute by minute, of a pattern with this mean at so many requests a minute."""
    drawn, now, out = random.Random(seed), detector.fresh(), []
    for minute in range(minutes):
        came = sum(drawn.random() < rate / 600 for _ in range(600))
        values = [min(max(drawn.gauss(mean, SPREAD), 0.0), 1.0) for _ in range(came)]
        now = now.after(of(values), THRESHOLD, 60 * (minute + 1))
        out.append(now.log_e)
    return out


def rules(binaries: Path) -> str:
    """Return the rules as the chart ships them."""
    chart = str(ROOT / "charts" / "indexcache-operator")
    words = [str(binaries / "helm"), "template", "x", chart, "--kube-version", "1.37"]
    documents = yaml.safe_load_all(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    found = next(d for d in documents if d and d["metadata"]["name"] == "indexcache-rules")
    return str(found["data"]["rules.yml"])


def fired(binaries: Path, streams: Sequence[Sequence[float]]) -> int:
    """Return in how many of these streams, a value a minute, the alert ever fired."""
    series = []
    for i, values in enumerate(streams):
        who = f'namespace="n",rollout="r{i}"'
        pattern = f'{who},uid="u",revision="v",guardrail="recall"'
        shown = " ".join(f"{value:.6g}" for value in values)
        series += [
            {"series": f"indexcache_operator_log_evidence{{{pattern}}}", "values": shown},
            {"series": f"indexcache_operator_log_limit{{{pattern}}}", "values": f"{LIMIT}x{len(values)}"},
            {
                "series": f'indexcache_operator_rollout_phase{{{who},phase="Promoted"}}',
                "values": f"1x{len(values)}",
            },
        ]
    minutes = max(map(len, streams))
    asked = {
        "expr": FIRED % minutes,
        "eval_time": f"{minutes - 1}m",
        "exp_samples": [{"labels": "{}", "value": -1}],
    }
    tests = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [asked]}],
    }
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules.yml").write_text(rules(binaries))
        (Path(folder) / "test.yml").write_text(yaml.safe_dump(tests))
        words = [str(binaries / "promtool"), "test", "rules", "test.yml"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    got = re.search(r"got:\s*(nil|\{\}\s*([0-9.E+]+))", said)
    if got is None:  # none was expected to be -1, so promtool says in any case what it got
        raise RuntimeError(f"promtool says: {said}")
    return 0 if got.group(1) == "nil" else int(float(got.group(2)))


def main() -> None:
    """Run the simulation, and print how many streams raised the alert."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--rate", type=float, default=2.0)
    asked = parser.parse_args()
    for over in (0.0, 0.05, 0.10, -0.20):
        made = [
            evidence(THRESHOLD + over, rate=asked.rate, minutes=60 * asked.hours, seed=seed)
            for seed in range(asked.streams)
        ]
        print(
            f"mean {THRESHOLD + over:.2f}, threshold {THRESHOLD}: {fired(asked.bin, made)} of {asked.streams}"
        )


if __name__ == "__main__":
    main()

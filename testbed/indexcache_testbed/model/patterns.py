"""The table of patterns, patterns.json: how every Full/Shared pattern of the tiny model answers, by context
size. No torch.

`choose` picks from it the patterns that demo and tests need, and says which figures are missed. Sites are
named by index; a pattern has one letter a site, F (Full) or S (Shared, reads what the nearest Full site
before it chose).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ABOUT = (
    "Measured in plain torch, float32, with the checkpoint's bfloat16 weights, on "
    "questions.measured_questions(pairs). Lists run over sizes. right: share of answers right; log_prob: "
    "mean log-probability of the right answer; on: prefix of a pattern, at its last site; shadow: "
    "leader>site, all layers Full; overlap and recall of score mass over rows with more than 2k tokens of "
    "context."
)


@dataclass(frozen=True)
class Size:
    """A column: tables of that many pairs."""

    pairs: int
    tables: int
    questions: int
    context: tuple[int, int]


@dataclass(frozen=True)
class Reuse:
    """Says what the reused set covers of the fresh one, in [0, 1]."""

    overlap: float
    recall: float


@dataclass
class PatternTable:
    """Figures by key; every list has one value a size."""

    sizes: list[Size]
    topk: int
    seed: int
    """Of the training."""
    patterns: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    on: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    shadow: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "PatternTable":
        raw = json.loads(path.read_text())
        sizes = [
            Size(s["pairs"], s["tables"], s["questions"], (s["context"][0], s["context"][1]))
            for s in raw["sizes"]
        ]
        return cls(sizes, raw["topk"], raw["seed"], raw["patterns"], raw["on"], raw["shadow"])

    def save(self, path: Path) -> None:
        """Write one line an entry, so that a diff shows which pattern changed."""
        head: dict[str, Any] = {
            "about": ABOUT,
            "topk": self.topk,
            "seed": self.seed,
            "sizes": [asdict(s) for s in self.sizes],
        }
        head["chosen"] = asdict(choose(self))
        lines = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in head.items()]
        for name, part in (("patterns", self.patterns), ("on", self.on), ("shadow", self.shadow)):
            rows = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in part.items())
            lines.append(f"  {json.dumps(name)}: {{\n{rows}\n  }}")
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n")

    @property
    def sites(self) -> int:
        return len(next(iter(self.patterns)))

    def column(self, pairs: int) -> int:
        """Return the position of a size in the lists. Raises KeyError if it was not measured."""
        for i, size in enumerate(self.sizes):
            if size.pairs == pairs:
                return i
        raise KeyError(
            f"pairs: {pairs} not measured; measured are {', '.join(str(s.pairs) for s in self.sizes)}"
        )

    def right(self, pattern: str, pairs: int) -> float:
        """Return the share of answers that are right."""
        return self.patterns[pattern]["right"][self.column(pairs)]

    def log_prob(self, pattern: str, pairs: int) -> float:
        """Return the mean log-probability of the right answer, in nats."""
        return self.patterns[pattern]["log_prob"][self.column(pairs)]

    def reuse_on(self, pattern: str, pairs: int) -> dict[int, Reuse]:
        """Return overlap and recall by Shared site, while the pattern is on."""
        return self._reuse(
            self.on, [(i, pattern[: i + 1]) for i, letter in enumerate(pattern) if letter == "S"], pairs
        )

    def reuse_shadow(self, pattern: str, pairs: int) -> dict[int, Reuse]:
        """Return overlap and recall by Shared site, with all layers Full: what shadow mode sees before
        anybody is exposed."""
        keys = [(i, f"{pattern.rfind('F', 0, i)}>{i}") for i, letter in enumerate(pattern) if letter == "S"]
        return self._reuse(self.shadow, keys, pairs)

    def lowest_recall(self, pattern: str, pairs: int) -> float:
        """Return the least recall in shadow over the Shared sites, 1 if there is none."""
        return min((r.recall for r in self.reuse_shadow(pattern, pairs).values()), default=1.0)

    def _reuse(
        self, part: dict[str, dict[str, list[float]]], keys: list[tuple[int, str]], pairs: int
    ) -> dict[int, Reuse]:
        c = self.column(pairs)
        return {site: Reuse(part[key]["overlap"][c], part[key]["recall"][c]) for site, key in keys}


@dataclass(frozen=True)
class Chosen:
    """The patterns that demo and tests use; empty where none has the figures wanted, which `missed` lists."""

    good: str
    harmful: str
    drift: str
    recall: dict[str, float]
    """Lowest recall in shadow over Shared sites: good (worst size), drift on the smallest tables, drift and
    harmful on the largest.
    """
    missed: list[str]


def choose(table: PatternTable) -> Chosen:
    """Choose a good, a harmful and a drifting pattern. Good: at least half Shared, 97 % right at every size.
    Harmful: at most 30 % at the long sizes (the upper two). Drift: 98 % on the smallest tables and at most 50
    % on the largest. All Full: 99 % everywhere.

    Among those, guardrails decide: good and drift-while-short with the highest recall, harmful with the
    lowest, so that one threshold of recall lets the first two into a canary and stops the third in shadow.
    """
    sizes = [s.pairs for s in table.sizes]
    short, long = sizes[0], sizes[-2:]

    def worst(pattern: str, over: Sequence[int]) -> float:
        return min(table.right(pattern, s) for s in over)

    def recall(pattern: str, over: Sequence[int]) -> float:
        return min(table.lowest_recall(pattern, s) for s in over)

    def best(fits: Callable[[str], bool], key: Callable[[str], float]) -> str:
        return max(
            (p for p in table.patterns if fits(p)), key=lambda p: (key(p), worst(p, sizes), p), default=""
        )

    full = "F" * table.sites
    good = best(lambda p: 2 * p.count("S") >= len(p) and worst(p, sizes) >= 0.97, lambda p: recall(p, sizes))
    harmful = best(lambda p: max(table.right(p, s) for s in long) <= 0.30, lambda p: -recall(p, long))
    drift = best(
        lambda p: table.right(p, short) >= 0.98 and table.right(p, sizes[-1]) <= 0.50,
        lambda p: recall(p, [short]),
    )

    missed = [
        f"all Full: {table.right(full, s):.4f} right at {s} pairs, expected 0.99"
        for s in sizes
        if table.right(full, s) < 0.99
    ]
    missed += [
        f"{name}: no pattern has the figures"
        for name, p in (("good", good), ("harmful", harmful), ("drift", drift))
        if not p
    ]
    seen = {"good": recall(good, sizes)} if good else {}
    if drift:
        seen |= {"drift_short": recall(drift, [short]), "drift_long": recall(drift, sizes[-1:])}
    if harmful:
        seen["harmful"] = recall(harmful, long)
    if not missed and min(seen["good"], seen["drift_short"]) - seen["harmful"] < 0.1:
        missed.append(f"recall: no threshold parts good and short drift from harmful by 0.1: {seen}")
    return Chosen(good, harmful, drift, {k: round(v, 4) for k, v in seen.items()}, missed)

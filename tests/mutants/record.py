"""Records what is known of all mutants: how many there were, and which survived, with what a person said of
them."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

SURVIVORS, RESULTS = (Path(__file__).parent / name for name in ("survivors.json", "results.json"))
EQUIVALENT = "equivalent"
"""How the judgement on a mutant begins that no test can tell from the code."""


@dataclass
class Record:
    """Results by module, as the two files hold them."""

    mutants: dict[str, int]
    survivors: dict[str, list[dict[str, str]]]
    """Each with the function it is in, what it changes, and the judgement; empty: nobody looked at it yet."""

    @classmethod
    def read(cls) -> "Record":
        """Read the files; nothing is known where there are none."""
        mutants, survivors = (json.loads(p.read_text()) if p.exists() else {} for p in (RESULTS, SURVIVORS))
        return cls(mutants, survivors)

    def write(self, modules: set[str]) -> None:
        """Write the files, without modules that are gone."""
        known = sorted(modules & set(self.mutants))
        mutants = {name: self.mutants[name] for name in known}
        survivors = {name: self.survivors[name] for name in known if self.survivors.get(name)}
        for path, content in ((RESULTS, mutants), (SURVIVORS, survivors)):
            path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def open(self, module: str) -> set[str]:
        """Find the functions of a module with a survivor that nobody judged yet."""
        return {row["function"] for row in self.survivors.get(module, []) if not row["judgement"]}

    def add(self, module: str, total: int, lived: dict[str, str], functions: Collection[str] = ()) -> str:
        """Put a run in place of what is known of a module, or of some functions. Returns a line to print.

        `total`: mutants of the module; `lived`: what each survivor changes.
        """
        before = self.survivors.get(module, [])
        said = {(row["function"], row["change"]): row["judgement"] for row in before}
        rows = [row for row in before if functions and row["function"] not in functions]
        for name, change in lived.items():
            key = function_of(name), change
            rows.append({"function": key[0], "change": change, "judgement": said.get(key, "")})
        self.mutants[module], self.survivors[module] = total, rows
        unjudged = sum(not row["judgement"] for row in rows)
        return f"{module}: {total} mutants, {len(rows)} survived, {unjudged} of them not judged yet"

    @property
    def _rows(self) -> list[dict[str, str]]:
        return [row for name in self.mutants for row in self.survivors.get(name, [])]

    @property
    def share(self) -> float:
        """Return how many were killed of the mutants that aren't equivalent, as a share."""
        equivalent = sum(row["judgement"].startswith(EQUIVALENT) for row in self._rows)
        return (self._total - len(self._rows)) / max(self._total - equivalent, 1)

    @property
    def _total(self) -> int:
        return sum(self.mutants.values())

    def summary(self) -> str:
        """Return the sums over all modules."""
        lived = len(self._rows)
        equivalent = sum(row["judgement"].startswith(EQUIVALENT) for row in self._rows)
        return (
            f"{self._total} mutants: {self._total - lived} killed, {lived} survived, {equivalent} of them "
            f"equivalent ({SURVIVORS.name})\n"
            f"{self.share:.1%} of those that aren't equivalent were killed; at least 90 % expected"
        )


def mangled(function: str) -> str:
    """Name a function as mutmut does: the other way round of `function_of`."""
    return "xǁ" + function.replace(".", "ǁ") if "." in function else f"x_{function}"


def function_of(mutant: str) -> str:
    """Return the function that a mutant of mutmut changes: "a.b.xǁClassǁmethod__mutmut_3" ->
    "Class.method"."""
    mangled = mutant.rpartition(".")[2].rpartition("__mutmut_")[0]
    return mangled.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")

"""Draws the diagram of phases in docs/architecture.md, made of the planner's own table."""

from pathlib import Path

from indexcache_operator.api.status import Phase
from indexcache_operator.plan.phases.table import TABLE
from indexcache_operator.plan.phases.triggers import ENGAGED

from scripts.generate.pages import DOCS, filled

PAGE = DOCS / "architecture.md"
SOURCE = "operator/indexcache_operator/plan/phases/table.py"
FROM_OUTSIDE = "a cause from outside"


def render() -> dict[Path, str]:
    """Return the page and its text. Raises ValueError if the page has no place for the diagram."""
    return {PAGE: filled(PAGE, SOURCE, diagram())}


def diagram() -> str:
    """Return the diagram in Mermaid: an arrow for each way, with what it takes."""
    lines = [f"  {before} --> {after}: {why}\n" for (before, after), why in ways().items()]
    return f"```mermaid\nstateDiagram-v2\n  [*] --> {Phase.PENDING}\n{''.join(lines)}```\n"


def ways() -> dict[tuple[Phase, Phase], str]:
    """Return what leads from one phase to another, but for deletions and intents, which lead from many."""
    out = {(before, after): why for before, row in TABLE.items() for after, why in row.leads_to.items()}
    for before in Phase:
        if before in ENGAGED:
            back = before, Phase.FALLING_BACK
            out[back] = f"{out[back]}, or {FROM_OUTSIDE}" if back in out else FROM_OUTSIDE
    return out

"""The table at the demo's end."""

from collections.abc import Callable

from rich.table import Table

from indexcache_testbed.load.answers import Tally
from indexcache_testbed.scenario.outcome import Outcome


def render(outcomes: list[Outcome]) -> Table:
    """Return the table of outcomes, one column a scenario."""
    table = Table(title="What happened", show_lines=True)
    table.add_column("")
    for o in outcomes:
        table.add_column(f"({o.letter}) {o.title}", overflow="fold")
    rows: dict[str, Callable[[Outcome], str]] = {
        "pattern": lambda o: o.pattern,
        "ended": lambda o: o.ended,
        "time in each phase": lambda o: "\n".join(f"{phase} {seconds:.1f} s" for phase, seconds in o.phases),
        "overlap, recall, lowest indexer's recall": _measured,
        "answers right, baseline": lambda o: _share(o.stable),
        "answers right, under reuse": lambda o: _share(o.canary),
        "times are from": lambda o: o.trigger,
        "to reuse off on all engines": lambda o: _seconds(o.breach_to_off),
        "to no canary traffic": lambda o: _seconds(o.breach_to_zero),
        "requests admitted under reuse": lambda o: _count(o.admitted_under_reuse),
        "... after all were off": lambda o: _count(o.admitted_after),
        "... in flight at that moment": lambda o: _count(o.in_flight),
        "requests failed": lambda o: (
            str(o.failed) + "".join(f"\n{n} x {what}" for what, n in o.failures.items())
        ),
        "notes": lambda o: "\n".join(o.notes),
    }
    for name, cell in rows.items():
        cells = [cell(o) for o in outcomes]
        if any(cells):
            table.add_row(name, *cells)
    return table


def _measured(o: Outcome) -> str:
    m = o.measured
    if m is None or m.overlap is None or m.recall is None or m.lowest_recall is None:
        return "-"
    return f"{m.overlap:.2f}, {m.recall:.2f}, {m.lowest_recall:.2f}"


def _share(t: Tally | None) -> str:
    return "-" if t is None or t.share_right is None else f"{100 * t.share_right:.1f} % of {t.asked}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)

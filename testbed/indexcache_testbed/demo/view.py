"""Shows what a person watches while a scenario plays: one picture of rollout, engines and answers, and a line
whenever something happens.

On a terminal the picture is redrawn in place; elsewhere only the lines are printed.
"""

import asyncio
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from indexcache_testbed.load.answers import REUSE_STATE, Answer, tally
from indexcache_testbed.load.client import Load
from indexcache_testbed.scenario.watch import Witness, backends

MODES = {"off": "cyan", "shadow": "blue", "on": "green", "tripped": "red"}
RECENT = 10.0
"""Seconds of answers in the picture."""


class View:
    """Draws until it is left; `say` prints a line above the picture."""

    def __init__(self, witness: Witness, load: Load, console: Console) -> None:
        self._witness, self._load, self._console = witness, load, console
        self._started, self._last, self._title = time.monotonic(), ("", ""), ""

    def scenario(self, title: str) -> None:
        """Begin the view of a new scenario."""
        self._tell()
        self._title = title
        self._console.rule(f"[bold]{title}")

    def say(self, text: str) -> None:
        """Show a line, with the time since the demo began."""
        self._console.print(Text(f"{time.monotonic() - self._started:6.1f} s  ", style="dim") + Text(text))

    async def run(self) -> None:
        """Show the present again and again, until cancelled."""
        with Live(console=self._console, refresh_per_second=4, transient=True, auto_refresh=False) as live:
            while True:
                self._tell()
                if self._console.is_terminal:
                    live.update(self.picture(), refresh=True)
                await asyncio.sleep(0.25)

    def _tell(self) -> None:
        """Say what changed in the rollout."""
        status = self._witness.now.status
        step = status.get("step") or {}
        phase = str(status.get("phase", ""))
        step_now = (
            f" {status.get('stepSummary', '')}, weight {step['weight']} %"
            if step and phase == "Canary"
            else ""
        )
        if phase and (phase, step_now) != self._last:
            self.say(f"{phase}{step_now}: {str(status.get('message', '')).partition('. ')[0]}")
            self._last = phase, step_now

    def picture(self) -> RenderableType:
        """Return a picture of the present."""
        return Group(self._rollout(), self._engines(), self._answers())

    def _rollout(self) -> Table:
        status = self._witness.now.status
        traffic = status.get("traffic") or {}
        table = Table(title=self._title, title_justify="left", expand=False)
        for name in ("phase", "step", "weight", "seen by engines", "recall", "verdict", "why"):
            table.add_column(name)
        observed = traffic.get("observed")
        table.add_row(
            str(status.get("phase", "")),
            str(status.get("stepSummary", "")),
            f"{traffic.get('desired', 0)} %",
            "" if observed is None else f"{observed} %",
            str(status.get("recall", "")),
            str(status.get("verdict", "")),
            str(status.get("reason", "")),
        )
        return table

    def _engines(self) -> Table:
        table = Table()
        for name in ("engine", "mode", "why", "permit", "epoch", "baseline", "under reuse", "probes"):
            table.add_column(
                name,
                justify="right"
                if name in ("permit", "epoch", "baseline", "under reuse", "probes")
                else "left",
            )
        for pod, state in sorted(self._witness.engines.items()):
            permit = state.permit_remaining_seconds
            table.add_row(
                pod,
                Text(state.mode.value, style=MODES[state.mode.value]),
                state.reason.value,
                "" if permit is None else f"{permit:.1f} s",
                str(state.epoch),
                str(state.requests.admitted_baseline),
                str(state.requests.admitted_reuse),
                str(state.requests.probes),
            )
        route = backends(self._witness.routes[-1]) if self._witness.routes else {}
        table.caption = "route: " + (
            ", ".join(f"{name} {weight}" for name, weight in route.items()) or "not there"
        )
        return table

    def _answers(self) -> Text:
        recent = self._load.since(time.monotonic() - RECENT)
        return (
            Text(f"answers right in the last {RECENT:.0f} s: ")
            + self._share("baseline", recent, False)
            + self._share("reuse", recent, True)
        )

    @staticmethod
    def _share(name: str, answers: list[Answer], reuse: bool) -> Text:
        t = tally(a for a in answers if (a.state == REUSE_STATE) is reuse)
        share = "none" if t.share_right is None else f"{100 * t.share_right:.0f} % of {t.asked}"
        return Text(f"{name} {share}{f', {t.failed} failed' if t.failed else ''}   ")

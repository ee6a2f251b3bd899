"""`make demo`, inside the testbed's network: install, play the scenarios, print the table.

python -m indexcache_testbed.demo [--only a,c]
"""

import argparse
import asyncio
import sys
import time

from rich.console import Console

from indexcache_testbed.background import Background
from indexcache_testbed.demo.table import render
from indexcache_testbed.demo.view import View
from indexcache_testbed.load.client import Load
from indexcache_testbed.scenario import install, scenarios
from indexcache_testbed.scenario.outcome import Outcome
from indexcache_testbed.scenario.stage import Stage
from indexcache_testbed.scenario.watch import Witness

LETTERS = dict(zip("abcde", scenarios.ALL, strict=True))


async def demo(letters: str, console: Console) -> list[Outcome]:
    """Play them; what came of each."""
    start = time.monotonic()
    witness = Witness(install.NAMESPACE, install.ROLLOUT, install.ROUTE)
    console.print("installing the operator from its chart, alert rules, route and probes")
    await install.operator()
    await install.fresh()
    await install.companions()
    url = await install.gateway()
    load = Load(url, install.MODEL)
    view = View(witness, load, console)
    stage = Stage(witness, load, install.EXAMPLES, view.say)
    outcomes = []
    async with witness:
        await stage.apply("demo-good")
        view.say("three engines: about a minute on two cores if they have to start")
        await install.engines_answer(url, 240, view.say)
        async with load:
            showing = Background("the view")
            showing.begin(view.run())
            try:
                for letter in letters:
                    play = LETTERS[letter]
                    view.scenario(f"({letter}) {(play.__doc__ or '').splitlines()[0]}")
                    outcomes.append(await play(stage))
            finally:
                await showing.end()
    console.print(render(outcomes))
    console.print(
        f"{time.monotonic() - start:.0f} s; the testbed goes on: make status, make shell, make down"
    )
    return outcomes


def main() -> None:
    """Run the demo: the entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="abcde", help="which scenarios, in order")
    args = parser.parse_args()
    letters = args.only.replace(",", "")
    if unknown := sorted(set(letters) - set(LETTERS)):
        parser.error(f"--only: no scenario {', '.join(unknown)}; there are {', '.join(LETTERS)}")
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)
    try:
        asyncio.run(demo(letters, console))
    except (TimeoutError, RuntimeError) as error:
        console.print(f"[red]demo:[/] {error}", markup=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

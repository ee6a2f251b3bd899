"""Stands in for thousands of engines in one process: each has an address of its own on the loopback, and
behind it the runtime's real control port, but for its sockets.

    python -m benchmarks.scale_engines FOLDER [--requests 40] [--per-minute 0]

FOLDER/engines.json lists them: address, namespace, name and uid of their rollout, and their token. Under
reuse each has measured so many requests at once, and then as many a minute as it is told. FOLDER/kills has a
line for each kill (address, seconds of CLOCK_MONOTONIC), FOLDER/counts.json what was answered so far,
FOLDER/ready is there once all listen.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import TextIO

from indexcache_core.contract import CONTROL_PORT, Mode, Site, Work
from indexcache_runtime.access import Credentials
from indexcache_runtime.control.engine_control import EngineControl
from indexcache_runtime.control.peer import Peer, Stage
from indexcache_runtime.control.routes import Answer, Call, Routes
from indexcache_runtime.engine import Capabilities, Measured, Row, StepPlan

K = 2048
SITES = tuple(Site(index=i, layer=i, domain="tokens", k=K) for i in range(4))
PATTERN = "FSFS"
PROMPT = 10_000
"""Tokens of each request, of which the last is measured."""
SWEEP_SECONDS = 1.0


class Engine(Routes):
    """Answers the calls to one engine's control port, and serves requests that nobody sends."""

    def __init__(self, address: str, token: str, kills: TextIO, counts: Counter[str], requests: int) -> None:
        """Hold an engine that has just started; under reuse it measures so many requests at once."""
        self.control = EngineControl(
            Capabilities("DeepseekV32ForCausalLM", SITES), engine_version="0.33.0", checkpoint="c"
        )
        super().__init__(self.control, Credentials(token))
        self._address, self._kills, self._counts = address, kills, counts
        self._owed, self._served = requests, 0

    def kill(self) -> int:
        """Take the engine to the baseline, and note when."""
        number = super().kill()
        self._kills.write(f"{self._address} {time.monotonic():.6f}\n")
        self._kills.flush()
        return number

    def answer(self, call: Call, body: bytes) -> Answer:
        """Answer, and count it."""
        found = super().answer(call, body)
        self._counts[f"{call.method} {found.status}"] += 1
        if call.method == "PUT" and self.control.behaviour().mode is Mode.ON:
            self.serve(self._owed)
            self._owed = 0
        return found

    def serve(self, requests: int) -> None:
        """Serve requests, and measure them, if anything is measured now."""
        behaviour = self.control.behaviour()
        for _ in range(requests):
            self._served += 1
            user = f"user-{self._served}"
            with self.control.ledger() as ledger:
                ledger.admit(user, prompt_tokens=PROMPT, reuse=behaviour.mode is Mode.ON, probe=False)
            if behaviour.mode is Mode.OFF:
                continue
            rows = (Row(user, PROMPT - 1, 0, work=Work.PREFILL),)
            plan = StepPlan(behaviour.mode, behaviour.pattern, behaviour.series, rows)
            value = 0.8 + 0.15 * (self._served * 0.618 % 1.0)
            self.control.measured(
                plan, Measured(overlap={1: [value], 3: [value]}, recall={1: [value], 3: [value]})
            )
            self.control.prompts_computed([user])
            self.control.requests_ended([user])


class Port(asyncio.Protocol):
    """Serves one connection to an engine's control port."""

    def __init__(self, engine: Engine, ports: "set[Port]") -> None:
        """Serve a connection, held in `ports` while it is open."""
        self._engine, self._ports = engine, ports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._peer = transport, Peer(self._engine, time.monotonic())
        self._ports.add(self)

    def data_received(self, data: bytes) -> None:
        """Take what came, and answer it."""
        self._peer.received(data, time.monotonic())
        self._settle()

    def eof_received(self) -> None:
        """Take the end of what comes."""
        self._peer.received(b"", time.monotonic())
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._ports.discard(self)

    def sweep(self, now: float) -> None:
        """End a connection that is idle for too long."""
        if now >= self._peer.deadline:
            self._peer.late(now)
            self._settle()

    def _settle(self) -> None:
        while self._peer.outgoing and self._peer.stage is not Stage.ENDED:
            data = self._peer.outgoing
            self._transport.write(data)
            self._peer.sent(len(data), time.monotonic())
        if self._peer.stage in (Stage.ENDED, Stage.DRAIN):
            self._transport.close()


async def run(folder: Path, requests: int, per_minute: float) -> None:
    """Stand in for the engines until the process is ended."""
    loop, ports, counts = asyncio.get_running_loop(), set[Port](), Counter[str]()
    engines = []
    with (folder / "kills").open("w") as kills:
        for listed in json.loads((folder / "engines.json").read_text()):
            engine = Engine(listed["address"], listed["token"], kills, counts, requests)
            engines.append(engine)
            await loop.create_server(
                lambda engine=engine: Port(engine, ports),  # type: ignore[misc]
                listed["address"],
                CONTROL_PORT,
                backlog=8,
            )
        (folder / "ready").touch()
        owed = 0.0
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            for port in list(ports):
                port.sweep(now)
            owed += per_minute / 60 * SWEEP_SECONDS * len(engines)
            for turn in range(int(owed)):
                engines[(int(now) * 7919 + turn) % len(engines)].serve(1)
            owed -= int(owed)
            (folder / "counts.json").write_text(json.dumps(counts))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--per-minute", type=float, default=0.0)
    args = parser.parse_args()
    asyncio.run(run(args.folder, args.requests, args.per_minute))


if __name__ == "__main__":
    main()

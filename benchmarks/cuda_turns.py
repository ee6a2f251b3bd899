"""Ratios near 1: engines that stand on one GPU at once run the same prompts in turns, in another order each
round.

Where an engine's memory happens to lie on the device changes its decode steps by some thousandths, as long as
it stands. Rounds of one start agree with each other to a tenth of that, and say nothing about it: so engines
are started more than once where it counts.
"""

import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.cuda_engine import Arm
from benchmarks.report import Report, interval, say

DECODED = 192
"""Tokens generated at a time."""
SETTLING = 32
"""Tokens generated before, which don't count: all settings are then measured on a device that their own
engine has just used. One that another process has used runs kernels beside each other at first that it
doesn't later.
"""
WARMING = 40
"""Prefills or decodings at most in wait of a measured step."""


@dataclass(frozen=True)
class Setting:
    """An arm, and what it is told before its turn. `measures`: some steps of it are measured, few of many,
    and their price counts.
    """

    arm: Arm
    tell: Callable[[], Any] = lambda: None
    measures: bool = False


class Turns:
    """Seconds of prefills, or for each decoded token, by setting and context, of each start; one of each
    setting in every round.
    """

    def __init__(self, kind: str, settings: dict[str, Setting]) -> None:
        """Take turns among the settings.

        settings: to be set anew when their engines were started again."""
        self.kind, self.settings = kind, settings
        self.seconds: dict[tuple[str, int], list[list[float]]] = defaultdict(list)
        self.measured = 0
        """Steps that were measured meanwhile, warming up aside."""
        self._random = random.Random(0)

    def warm_up(self, tokens: int) -> None:
        """Run everything once, a measured step included if one comes: what is loaded at its first use must
        not count.
        """
        for name, setting in self.settings.items():
            setting.arm.clear()
            setting.tell()
            setting.arm.prefill(tokens)
            setting.arm.decode(DECODED, tokens)
            if not setting.measures:
                continue
            before = setting.arm.measured_steps(self.kind)
            for number in range(1, WARMING):
                if setting.arm.measured_steps(self.kind) > before:
                    break
                setting.arm.prefill(tokens, number) if self.kind == "prefill" else setting.arm.decode(
                    DECODED, tokens
                )
            else:
                say(f"{name}: of {WARMING} times no step of {self.kind} was measured")

    def prefill(self, length: int, rounds: int) -> None:
        """Time prefills of fresh prompts."""
        with self._start(length):
            for number in range(rounds):
                for name, setting in self._shuffled():
                    setting.arm.clear()
                    setting.tell()
                    self.seconds[name, length][-1].append(setting.arm.prefill(length, number))

    def decode(self, length: int, rounds: int) -> None:
        """Time decoding after a prompt that each setting finds in its arm's cache."""
        for arm in {id(s.arm): s.arm for s in self.settings.values()}.values():
            arm.clear()
        for setting in self.settings.values():
            setting.tell()
            setting.arm.prefill(length)
        with self._start(length):
            for _ in range(rounds):
                for name, setting in self._shuffled():
                    setting.tell()
                    setting.arm.decode(SETTLING, length)
                    self.seconds[name, length][-1].append(setting.arm.decode(DECODED, length))

    def ratio(self, over: str, under: str, length: int) -> dict[str, Any]:
        """Return the ratio of two settings: the median of the starts, each with its rounds' median ratio, or
        the ratio of all their time where measuring is what is asked; and its interval: from the least to the
        greatest start, or of the rounds, if there is one start.
        """
        starts = [
            list(zip(a, b, strict=True))
            for a, b in zip(self.seconds[over, length], self.seconds[under, length], strict=True)
        ]
        whole = self.settings[over].measures

        def of(taken: Sequence[tuple[float, float]]) -> float:
            return (
                sum(a for a, _ in taken) / sum(b for _, b in taken)
                if whole
                else statistics.median(a / b for a, b in taken)
            )

        each = [round(of(pairs), 5) for pairs in starts]
        low, high = min(each), max(each)
        if len(each) == 1:
            low, high = interval(lambda which: of([starts[0][i] for i in which]), len(starts[0]))
        return {"ratio": statistics.median(each), "low": low, "high": high, "starts": each}

    def row(self, report: Report, name: str, over: str, under: str, layers: int) -> None:
        """Report the worst ratio over contexts, and all of them; what the same code gave for the other kind
        stays in it, and counts.
        """
        lengths = dict.fromkeys(length for setting, length in self.seconds if setting == over)
        each = {
            f"{self.kind} {length}": self.ratio(over, under, length) | {"layers": layers}
            for length in lengths
        }
        seconds = {
            f"{self.kind} {setting} {length}": [[round(x, 6) for x in xs] for xs in starts]
            for (setting, length), starts in self.seconds.items()
            if setting in (over, under)
        }
        detail = {f"{self.kind}_steps_measured": self.measured} if self.settings[over].measures else {}
        with report.alone():
            old = report.find(name, same_commit=True)
            if old is not None:
                each = {
                    key: x for key, x in old["samples"]["each"].items() if not key.startswith(self.kind)
                } | each
                seconds = {
                    key: x for key, x in old["samples"]["seconds"].items() if not key.startswith(self.kind)
                } | seconds
                detail = {
                    key: x for key, x in old["samples"].items() if key not in ("each", "seconds")
                } | detail
            key, worst = max(each.items(), key=lambda item: item[1]["ratio"])
            unit = f"ratio, {key}, {worst['layers']:.0f} layers"
            report.row(
                name,
                worst["ratio"],
                unit,
                {"each": each, "seconds": seconds, **detail},
                low=worst["low"],
                high=worst["high"],
            )

    @contextmanager
    def _start(self, length: int) -> Iterator[None]:
        """Take a context for the time of a block, from engines that were just started."""
        measuring = [setting.arm for setting in self.settings.values() if setting.measures]
        before = [arm.measured_steps(self.kind) for arm in measuring]
        for name in self.settings:
            self.seconds[name, length].append([])
        yield
        self.measured += sum(
            arm.measured_steps(self.kind) - steps for arm, steps in zip(measuring, before, strict=True)
        )
        typical = (
            f"{name} {1000 * statistics.median(self.seconds[name, length][-1]):.3f}" for name in self.settings
        )
        say(f"{self.kind} {length}, ms: {', '.join(typical)}")

    def _shuffled(self) -> list[tuple[str, Setting]]:
        return self._random.sample(list(self.settings.items()), len(self.settings))

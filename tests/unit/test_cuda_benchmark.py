"""The CUDA benchmark's own arithmetic, with stand-ins for its engines: a GPU's time is too dear to find a
slip there.
"""

import json
import threading
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_runtime.vllm.carried import PLAN

from benchmarks import cuda_runtime, render
from benchmarks.cuda_engine import Engine
from benchmarks.cuda_turns import Setting, Turns
from benchmarks.cuda_watch import watch
from benchmarks.report import Report, interval

MEASURED = ("shadow_over_off", "on_measured_over_on")


class StandIn:
    """An arm that takes the time it is told to."""

    def __init__(self, name: str, **options: Any) -> None:
        self.name, self.mode, self.calls, self.backend = (
            name,
            "off",
            0,
            options["backend"] if options else None,
        )
        self.rows: int | None = None
        self.saved = 0.0

    def ready(self) -> dict[str, str]:
        return {"gpu": "none", "vllm": "0", "backend": self.backend or "VLLMS_OWN"}

    def put(self, mode: str, pattern: str, rows: int | None = None, indexer: str = "Native") -> None:
        self.mode, self.rows = mode, rows
        self.saved = (0.2 if indexer == "Fast" else 0.0) + (0.1 if pattern == cuda_runtime.SEVEN else 0.0)

    def _seconds(self) -> float:
        self.calls += 1
        reuse = self.name == "static" or self.mode == "on"
        measured = self.mode == "shadow" or (self.mode == "on" and self.rows is None)
        return (
            (1.0 if reuse else 2.0) * (1.002 if self.name == "ours" else 1.0) * (1.005 if measured else 1.0)
        )

    def prefill(self, length: int, number: int = 0) -> float:
        return length * self._seconds() * (1.0 - self.saved)

    def decode(self, tokens: int, length: int) -> float:
        return self._seconds()

    def decode_all(self, tokens: int) -> float:
        return 10 / self._seconds()

    def answers(self, prompts: list[list[int]], tokens: int) -> list[list[int]]:
        return [p[:tokens] for p in prompts]

    def tainted(self, pattern: str, prompts: list[list[int]], tokens: int) -> dict[str, Any]:
        blocks = {
            "tainted": 0,
            "clean": 7,
            "clean_from_before_the_kill": 5,
            "asked": 10,
            "made_under_reuse": 5,
        }
        return blocks | {"answers": self.answers(prompts, tokens)}

    def measured_steps(self, kind: str) -> int:
        return self.calls // 10

    def kills(self, pattern: str, times: int, requests: int, length: int) -> list[float]:
        return [0.001 * (i + 1) for i in range(times)]

    def kill_in_prefill(self, pattern: str, length: int) -> tuple[float, float]:
        return 0.3, 0.3

    def new_pattern(self, pattern: str, requests: int, length: int) -> tuple[float, float, float]:
        return 0.2, 0.1, 0.01

    def state(self) -> dict[str, Any]:
        return {"device": {"graph_bytes": 1 << 29, "scratch_bytes": 1 << 28}}

    def clear(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize(("gib", "layers"), [(79, 22), (139, 42), (1000, 47)])
def test_as_many_layers_as_fit_begin_with_a_full_one(gib: int, layers: int) -> None:
    assert cuda_runtime.fitting({"unpatched": 1, "ours": 1}, gib << 30) == layers
    assert cuda_runtime.pattern(layers)[0] == "F"


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(cuda_runtime, "Arm", StandIn)
    monkeypatch.setattr(cuda_runtime, "memory", lambda: 140 << 30)
    report = Report(tmp_path / "out.json", "test", "abc")
    for stage in ("prefill", "decode", "switching", "speedups", "fast"):
        cuda_runtime.STAGES[stage](report)
    data = json.loads(report.path.read_text())
    assert (data["hardware"], data["commit"], data["versions"]) == ("none", "abc", {"vllm": "0"})
    return {row["name"]: row for row in data["rows"]}


@pytest.mark.parametrize(
    ("asked", "ratio", "speedup"),
    [
        ("", "VLLMS_OWN", "VLLMS_OWN"),
        ("other", "OTHER", "ours OTHER, static OTHER, unpatched VLLMS_OWN"),
    ],
)
def test_another_backends_rows_have_names_of_their_own_and_gain_over_vllms_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, ratio: str, speedup: str
) -> None:
    monkeypatch.setattr(cuda_runtime, "Arm", StandIn)
    report = Report(tmp_path / "out.json", "test", "abc", asked)
    for stage in ("alone", "prefill"):
        report.stage()
        cuda_runtime.STAGES[stage](report)
    end = f"_{asked}" if asked else ""
    units = {row["name"]: row["unit"] for row in report.data["rows"]}
    assert units[f"prefill_on_over_native{end}"].endswith(f" layers, {ratio}")
    assert units[f"prefill_200k_speedup{end}"] == f"x, 47 layers, {speedup}"
    assert all(name.endswith(end) for name in units)


def test_patterns_begin_with_a_full_layer_and_share_as_much_as_all_layers_do() -> None:
    for layers in (cuda_runtime.SHORT, cuda_runtime.CUT, cuda_runtime.LAYERS):
        pattern = cuda_runtime.pattern(layers)
        assert (len(pattern), pattern[0]) == (layers, "F")
        assert 0.65 < pattern.count("S") / layers < 0.75


def test_every_row_of_the_readme_is_measured(rows: dict[str, Any]) -> None:
    assert rows.keys() == render.ROWS.keys()


def test_a_ratio_is_the_worst_of_all_with_its_interval(rows: dict[str, Any]) -> None:
    for name, value in (
        ("off_over_unpatched", 1.002),
        ("decode_on_over_native", 1.002),
        ("shadow_over_off", 1.005),
    ):
        assert rows[name]["value"] == pytest.approx(value, abs=1e-5)
        assert rows[name]["low"] <= rows[name]["value"] <= rows[name]["high"]
    each = rows["off_over_unpatched"]["samples"]["each"]
    assert each.keys() == {
        f"{kind} {length}" for kind in ("prefill", "decode") for length in cuda_runtime.CONTEXTS
    }
    seconds = rows["off_over_unpatched"]["samples"]["seconds"]
    assert {
        [len(xs) for xs in seconds[f"prefill off {length}"]] == [rounds]
        for length, rounds in cuda_runtime.CONTEXTS.items()
    } == {True}
    decoded = {len(xs) for length in cuda_runtime.CONTEXTS for xs in seconds[f"decode off {length}"]}
    assert decoded == {cuda_runtime.DECODES}
    assert all(
        len(seconds[f"decode off {length}"]) == cuda_runtime.STARTS for length in cuda_runtime.CONTEXTS
    )
    assert (
        min(
            rows[name]["samples"][f"{kind}_steps_measured"]
            for name in MEASURED
            for kind in ("prefill", "decode")
        )
        > 0
    )


def test_a_row_keeps_what_the_same_code_gave_for_the_other_kind_and_nothing_older(tmp_path: Path) -> None:
    report = Report(tmp_path / "out.json", "test", "abc")
    report.begin("h", {})

    def take(kind: str, seconds: float) -> None:
        turns = Turns(kind, {"off": Setting(StandIn("ours")), "unpatched": Setting(StandIn("unpatched"))})  # type: ignore[arg-type]
        turns.seconds = {("off", 8): [[seconds, seconds]], ("unpatched", 8): [[1.0, 1.0]]}
        turns.row(report, "off_over_unpatched", "off", "unpatched", 6)

    def row() -> tuple[float, str, list[str]]:
        found = report.data["rows"][0]
        return found["value"], found["unit"], sorted(found["samples"]["each"])

    take("prefill", 1.5)
    take("decode", 1.25)
    assert row() == (1.5, "ratio, prefill 8, 6 layers", ["decode 8", "prefill 8"])
    take("prefill", 1.0)
    assert row() == (1.25, "ratio, decode 8, 6 layers", ["decode 8", "prefill 8"])
    report.commit = "def"
    report.begin("h", {})
    take("prefill", 1.0)
    assert row() == (1.0, "ratio, prefill 8, 6 layers", ["prefill 8"])


def test_a_speedup_counts_engines_of_earlier_runs_of_the_same_code(tmp_path: Path) -> None:
    report = Report(tmp_path / "out.json", "test", "abc")
    report.begin("h", {})
    for stock in (2.0, 3.0):
        cuda_runtime.speedup(report, "x", {"unpatched": [stock], "static": [1.0], "ours": [1.0]})
    (row,) = report.data["rows"]
    assert (row["value"], row["low"], row["high"], row["samples"]["native"]) == (2.5, 2.0, 3.0, 2.5)
    report.commit = "def"
    cuda_runtime.speedup(report, "x", {"unpatched": [4.0], "static": [1.0], "ours": [1.0]})
    assert report.data["rows"][0]["value"] == 4.0


def test_warming_up_waits_for_a_measured_step_of_decoding_but_not_for_ever(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arm = StandIn("ours")
    turns = Turns("decode", {"shadow": Setting(arm, measures=True)})  # type: ignore[arg-type]
    turns.warm_up(8)
    assert arm.measured_steps("decode") == 1
    assert capsys.readouterr().err == ""
    arm.measured_steps = lambda kind: 0  # type: ignore[method-assign]
    turns.warm_up(8)
    assert "no step of decode was measured" in capsys.readouterr().err


def test_measuring_is_judged_by_all_time_and_all_else_by_the_typical_round() -> None:
    arm: Any = StandIn("ours")
    turns = Turns(
        "decode", {"off": Setting(arm), "shadow": Setting(arm, measures=True), "unpatched": Setting(arm)}
    )
    turns.seconds = {
        ("off", 8): [[2.0, 1.0, 1.0]],
        ("shadow", 8): [[2.0, 1.0, 1.0]],
        ("unpatched", 8): [[1.0, 1.0, 1.0]],
    }
    assert turns.ratio("off", "unpatched", 8)["ratio"] == 1.0
    assert turns.ratio("shadow", "unpatched", 8)["ratio"] == pytest.approx(4 / 3, abs=1e-4)


def test_of_more_than_one_start_it_is_the_median_one() -> None:
    """With the interval from the least to the greatest; each start is judged by its own rounds."""
    arm: Any = StandIn("ours")
    settings = {"off": Setting(arm), "shadow": Setting(arm, measures=True)}
    turns = Turns("decode", settings)
    turns.decode(8, 2)
    turns.settings = dict(settings)
    turns.decode(8, 2)
    assert [len(xs) for xs in turns.seconds["off", 8]] == [2, 2]
    assert turns.measured == arm.measured_steps("decode") > 0
    turns.seconds = {
        ("shadow", 8): [[2.0, 2.0], [9.0, 9.0], [3.0, 3.2]],
        ("off", 8): [[1.0, 1.0], [3.0, 3.0], [1.0, 1.0]],
    }
    assert turns.ratio("shadow", "off", 8) == {
        "ratio": 3.0,
        "low": 2.0,
        "high": 3.1,
        "starts": [2.0, 3.0, 3.1],
    }


def test_speedups_are_of_all_full_over_ours(rows: dict[str, Any]) -> None:
    for name in ("prefill_200k_speedup", "decode_200k_speedup", "decode_full_cache_speedup"):
        assert rows[name]["value"] == pytest.approx(2 / 1.002, abs=1e-4)
        assert rows[name]["samples"]["native"] == 2.0
    assert rows["kill_p99_ms"]["value"] == pytest.approx(99.0)


def test_what_indexer_fast_gains_is_of_all_full_over_each_pattern(rows: dict[str, Any]) -> None:
    for name, saved in (("prefill_200k_fast", 0.2), ("prefill_200k_7_of_47_fast", 0.3)):
        assert rows[name]["value"] == pytest.approx(2 / 1.002 / (1 - saved), abs=1e-4)
        assert rows[name]["samples"]["by_vllms_own_indexer"] == pytest.approx(2 / 1.002, abs=1e-4)
    decode = rows["decode_200k_fast"]
    assert decode["value"] == pytest.approx(2 / 1.002, abs=1e-4)
    assert {name: len(xs) for name, xs in decode["samples"]["seconds"].items()} == dict.fromkeys(
        ("all Full", "fast", "native", "7 of 47"), cuda_runtime.FULL
    )
    full = rows["decode_full_cache_fast"]
    assert full["value"] == pytest.approx(2 / 1.002, rel=1e-3)
    assert full["samples"]["tokens_a_second"].keys() == {"all Full", "fast"}
    assert (len(cuda_runtime.SEVEN), cuda_runtime.SEVEN.count("F")) == (cuda_runtime.LAYERS, 7)


def test_rows_of_earlier_runs_stay(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        report = Report(tmp_path / "out.json", "test", "abc")
        report.begin("h", {})
        report.row(f"row{value:.0f}", value, "x", [])
        report.row("same", value, "x", [])
    assert [(r["name"], r["value"]) for r in json.loads(report.path.read_text())["rows"]] == [
        ("row1", 1.0),
        ("row2", 2.0),
        ("same", 2.0),
    ]


def test_stages_beside_each_other_share_a_file(tmp_path: Path) -> None:
    one, other = (Report(tmp_path / "out.json", name, "abc") for name in ("one", "other"))
    one.begin("h", {})
    other.begin("k", {})
    one.row("a", 1.0, "x", [])
    other.row("b", 2.0, "x", [])
    one.row("c", 3.0, "x", [])
    assert [(r["name"], r["hardware"], r["command"]) for r in one.data["rows"]] == [
        ("a", "h", "one"),
        ("b", "k", "other"),
        ("c", "h", "one"),
    ]
    with one.alone():
        late = threading.Thread(target=other.row, args=("d", 4.0, "x", []))
        late.start()
        one.row("e", 5.0, "x", [])
        assert late.is_alive()
    late.join(10)
    assert [r["name"] for r in one.data["rows"]] == ["a", "b", "c", "e", "d"]


def test_the_interval_of_a_mean() -> None:
    xs = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    low, high = interval(lambda which: sum(xs[i] for i in which) / len(which), len(xs))
    assert 2.5 < low < 4.5 < high < 6.5


def test_a_kill_is_timed_until_the_first_all_full_step_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one step scheduled ahead: the step under way and the one handed over still reuse when the kill
    comes.
    """
    reuse, queue, done = [True], deque[Any](), [0]

    def step() -> None:
        plan = SimpleNamespace(mode=Mode.ON) if reuse[0] else None
        output = SimpleNamespace(total_num_scheduled_tokens=1, **({PLAN: plan} if plan else {}))
        core.model_executor.driver_worker.execute_model(output)
        queue.append(output)
        if len(queue) == 2:
            time.sleep(0.002)  # the older of them runs
            core.scheduler.update_from_output(queue.popleft(), None)
            done[0] += 1

    core = SimpleNamespace(
        model_executor=SimpleNamespace(driver_worker=SimpleNamespace(execute_model=lambda output: None)),
        scheduler=SimpleNamespace(update_from_output=lambda output, result: None),
    )
    engine: Any = object.__new__(Engine)
    engine.core, engine.llm = core, SimpleNamespace(llm_engine=SimpleNamespace(step=step))
    monkeypatch.setattr(Engine, "_call", lambda self, *args: reuse.__setitem__(0, False))
    steps = watch(core)
    for _ in range(4):
        step()
    took = engine._kill(steps)
    full = next(i for i, s in enumerate(steps) if not s.reuse)
    assert full >= 4
    assert 0 < steps[full].handed_over < steps[full - 1].ended
    assert took > 0
    assert done[0] >= full

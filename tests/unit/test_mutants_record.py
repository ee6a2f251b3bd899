"""Tests what is kept of mutants: judgements stay with their mutants, and the share leaves out what no test
can tell.
"""

from pathlib import Path

import pytest

from tests.mutants.record import Record, function_of, mangled
from tests.mutants.targets import ROOT, targets


def test_a_survivor_keeps_its_judgement_as_long_as_it_survives() -> None:
    record = Record({}, {})
    record.add("m", 9, {"m.x_f__mutmut_1": "- a\n+ b", "m.x_f__mutmut_2": "- a\n+ c"})
    record.survivors["m"][0]["judgement"] = "equivalent: it is"
    said = record.add("m", 9, {"m.x_f__mutmut_7": "- a\n+ b", "m.x__g__mutmut_1": "- a\n+ b"})
    assert said == "m: 9 mutants, 2 survived, 1 of them not judged yet"
    assert [(row["function"], row["judgement"]) for row in record.survivors["m"]] == [
        ("f", "equivalent: it is"),
        ("_g", ""),
    ]
    assert record.open("m") == {"_g"}


def test_a_run_of_some_functions_leaves_what_is_known_of_the_others() -> None:
    record = Record({}, {})
    record.add("m", 9, {"m.x_f__mutmut_1": "- a\n+ b", "m.x_g__mutmut_1": "- a\n+ c"})
    record.add("m", 9, {}, {"g"})
    assert [row["function"] for row in record.survivors["m"]] == ["f"]


def test_the_share_is_of_those_that_a_test_can_tell() -> None:
    record = Record({}, {})
    record.add("m", 12, {f"m.x_f__mutmut_{i}": f"- a\n+ {i}" for i in range(4)})
    for row, judgement in zip(
        record.survivors["m"], ("equivalent: a", "equivalent: b", "left alone: c"), strict=False
    ):
        row["judgement"] = judgement
    assert record.share == pytest.approx(8 / 10)
    assert "8 killed, 4 survived, 2 of them equivalent" in record.summary()


@pytest.mark.parametrize(("function", "name"), [("f", "x_f"), ("_f", "x__f"), ("Class._f", "xǁClassǁ_f")])
def test_functions_are_named_as_mutmut_does(function: str, name: str) -> None:
    assert mangled(function) == name
    assert function_of(f"package.module.{name}__mutmut_12") == function


def test_every_module_that_is_mutated_has_its_tests() -> None:
    names = {target.name for target in targets()}
    assert len(names) == len(targets())
    assert all((ROOT / path).exists() for target in targets() for path in target.tests)
    assert {
        "indexcache_operator.plan.wanted.confirmation",
        "indexcache_runtime.vllm.engine_core.step_planner",
    } <= names


def test_files_that_go_on_with_a_modules_tests_belong_to_it() -> None:
    (blocks,) = (target for target in targets() if target.name.endswith(".blocks"))
    assert [Path(path).name for path in blocks.tests] == [
        "test_blocks.py",
        "test_blocks_classes.py",
        "test_blocks_failures.py",
        "test_blocks_flips.py",
        "test_blocks_hashers.py",
        "test_blocks_lookup.py",
    ]

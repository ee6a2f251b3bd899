"""docs/compatibility.md names tests that exist, and all that is refused."""

import re
from pathlib import Path

from indexcache_core import compat
from indexcache_runtime.vllm.refusals import RUST_FRONTEND, SINGLE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/compatibility.md").read_text()
SUITE = "tests/conformance/suite.py"


def test_it_names_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE) + [(SUITE, name) for name in re.findall(r"`(test_\w+)`", PAGE)]
    assert len(named) > 20
    for path, name in named:
        source = (ROOT / path).read_text()
        assert not name or re.search(rf"^ *(?:async )?(?:def|class) {name}\b", source, re.MULTILINE), f"{path}::{name}"


def test_the_whole_suite_is_on_it() -> None:
    assert set(re.findall(r"def (test_\w+)", (ROOT / SUITE).read_text())) <= set(re.findall(r"`(test_\w+)`", PAGE))


def test_all_that_is_refused_is_on_it() -> None:
    refused = PAGE.partition("## Refused")[2]
    for setting in [flag.names[0] for flag in compat.FLAGS] + [flag for _, flag, _ in SINGLE] + [RUST_FRONTEND]:
        assert f"`{setting}`" in refused, setting

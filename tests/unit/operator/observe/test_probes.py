"""Probes from a ConfigMap, and what is wrong with them by name."""

import json
from typing import Any

import pytest
from indexcache_operator.observe import probes

LINE = {"prompt": "p", "continuation": "c", "contextTokens": 300}


def config_map(*lines: Any) -> dict[str, Any]:
    return {
        "data": {
            "probes.jsonl": "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        }
    }


def test_reads_lines() -> None:
    found = probes.read(config_map(LINE, "", {**LINE, "contextTokens": 5}), "c", "n")
    assert found.problem is None
    assert [p.context_tokens for p in found.probes] == [300, 5]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (None, ["no ConfigMap c in namespace n"]),
        ({"data": {"other": ""}}, ["found keys other", "expected the key probes.jsonl"]),
        (config_map(), ["no probe"]),
        (config_map(LINE, "{"), ["line 2", "JSON"]),
        (config_map({"prompt": "p", "continuation": "c"}), ["line 1", "contextTokens", "required"]),
        (config_map({**LINE, "prompt": ""}), ["line 1", "prompt"]),
        (config_map({**LINE, "continuaton": "x"}), ["line 1", "continuaton"]),
        (config_map({**LINE, "contextTokens": 0}), ["line 1", "contextTokens"]),
        (
            config_map(LINE, {**LINE, "continuation": " a b c d e f g h i"}),
            ["line 2", "9 words", "at most 8 tokens"],
        ),
    ],
)
def test_refuses_the_whole_file_and_says_where(raw: dict[str, Any] | None, words: list[str]) -> None:
    found = probes.read(raw, "c", "n")
    assert not found.probes
    assert found.problem is not None
    assert found.problem.startswith("spec.guardrails.quality.probes.configMap")
    for word in words:
        assert word in found.problem

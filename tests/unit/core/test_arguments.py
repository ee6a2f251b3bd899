"""Tests how the arguments of an engine's server are read: by the spellings that vLLM's own parser takes."""

import pytest
from indexcache_core.arguments import Option, last, parse


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        # One argument, or two.
        (["--port=81"], [("--port", "81")]),
        (["--port", "81"], [("--port", "81")]),
        (["--port", "81", "--seed", "1"], [("--port", "81"), ("--seed", "1")]),
        (["--served-model-name", "a", "b"], [("--served-model-name", "a")]),
        # A value that holds what names are made of.
        (["--api-key=a=b"], [("--api-key", "a=b")]),
        (["--api-key=--x"], [("--api-key", "--x")]),
        (["--seed", "-1"], [("--seed", "-1")]),
        (["--scale", "-0.5"], [("--scale", "-0.5")]),
        (["--file", "-"], [("--file", "-")]),
        # Switches, and values that are missing.
        (["--enable-dbo"], [("--enable-dbo", None)]),
        (["--enable-dbo", "--port=81"], [("--enable-dbo", None), ("--port", "81")]),
        (["--port", "-tp", "2"], [("--port", None), ("-tp", "2")]),
        (["--port="], [("--port", "")]),
        # Underscores, in names alone.
        (["--api_key=a_b"], [("--api-key", "a_b")]),
        (["--pipeline_parallel_size", "2"], [("--pipeline-parallel-size", "2")]),
        # Short forms.
        (["-pp", "2"], [("-pp", "2")]),
        (["-pp=2"], [("-pp", "2")]),
        (["-n", "2"], [("-n", "2")]),
        (["-n2"], [("-n", "2")]),
        # Fields of a JSON value.
        (["--attention-config.backend", "X"], [("--attention-config.backend", "X")]),
        (["--attention_config.flash_attn_version=3"], [("--attention-config.flash_attn_version", "3")]),
        (["-ac.backend=X"], [("-ac.backend", "X")]),
        (["--compilation-config.sizes+=1,2"], [("--compilation-config.sizes", "1,2")]),
        (
            ["--attention-config", '{"backend": "X", "hisparse_config": {"a": 1}, "none": null}'],
            [
                ("--attention-config.backend", "X"),
                ("--attention-config.hisparse_config", '{"a": 1}'),
                ("--attention-config", '{"backend": "X", "hisparse_config": {"a": 1}, "none": null}'),
            ],
        ),
        (["--attention-config={not json"], [("--attention-config", "{not json")]),
        # What is no option.
        ([], []),
        (["vllm", "serve", "/model"], []),
        (["--port=81", "--", "--seed=1"], [("--port", "81")]),
        # Taken back.
        (["--enable-dbo", "--no-enable-dbo"], [("--no-enable-dbo", None)]),
        (["--no-enable_dbo", "--enable-dbo"], [("--no-enable-dbo", None), ("--enable-dbo", None)]),
    ],
    ids=lambda value: " ".join(value) if value and isinstance(value[0], str) else "",
)
def test_spellings(args: list[str], expected: list[tuple[str, str | None]]) -> None:
    assert parse(args) == tuple(Option(name, value) for name, value in expected)


@pytest.mark.parametrize(
    ("args", "names", "expected"),
    [
        (["--port=81", "--port=82"], ["--port"], Option("--port", "82")),
        (["--port=81", "--port", "82", "--seed=1"], ["--port"], Option("--port", "82")),
        # The last of all spellings.
        (
            ["-pp=2", "--pipeline-parallel-size=1"],
            ["--pipeline-parallel-size", "-pp"],
            Option("--pipeline-parallel-size", "1"),
        ),
        (["--pipeline-parallel-size=1", "-pp=2"], ["--pipeline-parallel-size", "-pp"], Option("-pp", "2")),
        # A field sets the option, and one of another option does not.
        (
            ["--speculative-config.method=mtp"],
            ["--speculative-config"],
            Option("--speculative-config.method", "mtp"),
        ),
        (["--speculative-config-file=x"], ["--speculative-config"], None),
        (
            ['--attention-config={"backend": "X"}'],
            ["--attention-config.backend"],
            Option("--attention-config.backend", "X"),
        ),
        (["--enable-dbo", "--no-enable-dbo"], ["--enable-dbo"], None),
        (["--no-enable-dbo", "--enable-dbo"], ["--enable-dbo"], Option("--enable-dbo", None)),
        (["--seed=1"], ["--port"], None),
    ],
)
def test_which_of_several_wins(args: list[str], names: list[str], expected: Option | None) -> None:
    assert last(parse(args), *names) == expected

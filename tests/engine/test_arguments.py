"""Core's reading of an engine's arguments against vLLM's own parser: the same option, the same value."""

import functools
from argparse import ArgumentParser
from typing import Any

import pytest
from indexcache_core.arguments import last, parse
from indexcache_core.refusals import REFUSALS

pytestmark = pytest.mark.engine

ARGUMENTS = [setting for refusal in REFUSALS for setting in refusal.settings if setting.is_argument]


@functools.cache
def vllms() -> ArgumentParser:
    """Return the parser of `vllm serve`."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser: ArgumentParser = make_arg_parser(FlexibleArgumentParser())
    return parser


@pytest.mark.parametrize("name", [name for setting in ARGUMENTS for name in (setting.name, *setting.short)])
def test_vllm_has_each_spelling_that_is_refused(name: str) -> None:
    known = {spelling for action in vllms()._actions for spelling in action.option_strings}
    assert name.partition(".")[0] in known


@pytest.mark.parametrize(
    ("args", "names", "attribute"),
    [
        (["--port=81"], ["--port"], "port"),
        (["--port", "81", "--port=82"], ["--port"], "port"),
        (["--pipeline_parallel_size", "2"], ["--pipeline-parallel-size", "-pp"], "pipeline_parallel_size"),
        (["-pp", "2"], ["--pipeline-parallel-size", "-pp"], "pipeline_parallel_size"),
        (["-pp=2"], ["--pipeline-parallel-size", "-pp"], "pipeline_parallel_size"),
        (
            ["-pp=2", "--pipeline-parallel-size=1"],
            ["--pipeline-parallel-size", "-pp"],
            "pipeline_parallel_size",
        ),
        (["-n2"], ["--nnodes", "-n"], "nnodes"),
        (["-n", "2", "-n=3"], ["--nnodes", "-n"], "nnodes"),
        (["--seed", "-1"], ["--seed"], "seed"),
        (["--kv-cache-dtype=fp8", "--kv_cache_dtype", "auto"], ["--kv-cache-dtype"], "kv_cache_dtype"),
    ],
)
def test_a_value_is_what_vllm_takes(args: list[str], names: list[str], attribute: str) -> None:
    found = last(parse(args), *names)
    assert found is not None
    assert found.value == str(getattr(vllms().parse_args(args), attribute))


@pytest.mark.parametrize(
    "args", [["--enable-dbo"], ["--enable-dbo", "--no-enable-dbo"], ["--no-enable_dbo", "--enable_dbo"]]
)
def test_a_switch_is_as_vllm_sets_it(args: list[str]) -> None:
    assert (last(parse(args), "--enable-dbo") is not None) is vllms().parse_args(args).enable_dbo


@pytest.mark.parametrize(
    "args",
    [
        ["--attention-config.backend", "FLASHMLA_SPARSE"],
        ["--attention_config.backend=FLASHMLA_SPARSE"],
        ["-ac.backend=FLASHMLA_SPARSE"],
        ["--attention-config", '{"backend": "FLASHMLA_SPARSE"}'],
        ["-ac", '{"backend": "FLASHMLA_SPARSE"}'],
    ],
)
def test_a_field_of_a_json_value_is_as_vllm_sets_it(args: list[str]) -> None:
    found = last(parse(args), "--attention-config.backend", "-ac.backend")
    assert found is not None
    backend: Any = vllms().parse_args(args).attention_config.backend
    assert found.value == backend.name


@pytest.mark.parametrize("args", [["--api-key=a"], ["--api_key", "a", "b"], ["--api-key=a", "--api_key=b"]])
def test_the_users_key_is_one_that_vllm_takes(args: list[str]) -> None:
    found = last(parse(args), "--api-key")
    assert found is not None
    assert found.value in vllms().parse_args(args).api_key

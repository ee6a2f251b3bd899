"""The head of the engine tests says what CPU they run on."""

import pytest

from tests.engine.machine import describe, header

FIRST = "processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu avx2 avx512_vnni\n"
OLD = f"{FIRST}\nprocessor\t: 1\nmodel name\t: Another\nflags\t\t: fpu\n"
NEW = OLD.replace("avx2", "avx2 avx512f avx512_bf16 amx_tile amx_bf16")


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (OLD, "CPU: A CPU, 2 cores; avx2 yes, avx512f no, avx512_bf16 no, amx_tile no, amx_bf16 no"),
        (NEW, "CPU: A CPU, 2 cores; avx2 yes, avx512f yes, avx512_bf16 yes, amx_tile yes, amx_bf16 yes"),
        ("", "CPU: unknown, 2 cores; avx2 no, avx512f no, avx512_bf16 no, amx_tile no, amx_bf16 no"),
    ],
)
def test_a_cpu_is_described_by_its_first_processor(cpuinfo: str, expected: str) -> None:
    assert describe(cpuinfo, 2) == expected


def test_this_machine_has_a_line() -> None:
    assert header().startswith("CPU: ")

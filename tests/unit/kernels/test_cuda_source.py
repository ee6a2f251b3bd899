"""The compiler and launcher of CUDA C++, without a GPU: NVRTC and the driver are stand-ins."""

from collections.abc import Iterator
from ctypes import c_float, c_int, c_void_p
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from indexcache_kernels import cuda_source
from indexcache_kernels.index_topk import cuda as index_topk
from indexcache_kernels.reuse_overlap import cuda as reuse_overlap


class Status(int):
    """A status of the bindings."""

    name = "CUDA_ERROR_OF_SOME_KIND"


class Compiler:
    """Stands in for NVRTC: takes sources without the word `wrong`."""

    def __init__(self) -> None:
        self.options: list[bytes] = []

    def nvrtcVersion(self) -> tuple[int, int, int]:
        return 0, 13, 0

    def nvrtcCreateProgram(self, source: bytes, *rest: object) -> tuple[int, bytes]:
        return 0, source

    def nvrtcCompileProgram(self, program: bytes, count: int, options: list[bytes]) -> tuple[int]:
        self.options = options
        return (6 if b"wrong" in program else 0,)

    def nvrtcGetProgramLogSize(self, program: bytes) -> tuple[int, int]:
        return 0, 5

    def nvrtcGetCUBINSize(self, program: bytes) -> tuple[int, int]:
        return 0, 3

    def nvrtcGetProgramLog(self, program: bytes, log: bytes) -> tuple[int]:
        return (0,)

    nvrtcGetCUBIN = nvrtcGetProgramLog

    def nvrtcDestroyProgram(self, program: bytes) -> tuple[int]:
        return (0,)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    made = Compiler()
    monkeypatch.setattr(cuda_source, "nvrtc", lambda: made)
    return made


@pytest.fixture
def asked_anew() -> Iterator[None]:
    cuda_source.available.cache_clear()
    yield
    cuda_source.available.cache_clear()


def test_a_source_is_compiled_with_its_macros(compiler: Compiler) -> None:
    assert len(cuda_source.compiled("right", "sm_90a", {"HEADS": 32, "POSITION": "long long"})) == 3
    assert {b"--gpu-architecture=sm_90a", b"-DHEADS=32", b"-DPOSITION=long long"} <= set(compiler.options)


def test_a_source_that_does_not_compile_is_an_error(compiler: Compiler) -> None:
    with pytest.raises(cuda_source.CompileError):
        cuda_source.compiled("wrong", "sm_90a", {})


def test_a_failed_call_says_which_error_it_was() -> None:
    with pytest.raises(RuntimeError, match=r"CUDA_ERROR_OF_SOME_KIND \(700\)"):
        cuda_source.checked((Status(700), None))
    assert cuda_source.checked((0, "x")) == "x"


def test_arguments_of_a_launch_have_the_types_of_the_kernel() -> None:
    x = torch.zeros(4)
    map_of_driver: Any = SimpleNamespace(getPtr=lambda: 1)
    found = [cuda_source._argument(a) for a in (x, 3, 0.5, map_of_driver)]
    assert found == [
        (x.data_ptr(), c_void_p),
        (3, c_int),
        (0.5, c_float),
        (map_of_driver, None),
    ]


def test_without_nvrtc_the_triton_forms_are_taken(monkeypatch: pytest.MonkeyPatch, asked_anew: None) -> None:
    def missing() -> Any:
        raise ModuleNotFoundError("cuda")

    monkeypatch.setattr(cuda_source, "nvrtc", missing)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert not cuda_source.available()
    assert not reuse_overlap.takes(torch.zeros(2, 8, dtype=torch.int32))
    q, k = torch.zeros(4, 32, 128), torch.zeros(64, 128)
    assert not index_topk.takes(q, k)


def test_what_the_forms_take(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (index_topk, reuse_overlap):
        monkeypatch.setattr(module, "available", lambda: True)
    assert reuse_overlap.takes(torch.zeros(2, 8192))
    assert not reuse_overlap.takes(torch.zeros(2, 8193))
    assert not reuse_overlap.takes(torch.zeros(0, 8))
    k = torch.zeros(64, 128)
    for capability, shape, taken in (
        ((9, 0), (4, 32, 128), True),
        ((9, 0), (4, 64, 128), True),
        ((9, 0), (4, 16, 128), False),
        ((10, 0), (4, 32, 128), False),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert index_topk.takes(torch.zeros(shape), k) is taken
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert not index_topk.takes(torch.zeros(4 * 32 * 128 + 1)[1:].view(4, 32, 128), k)


@pytest.mark.parametrize("topk", [1, 64, 2048])
def test_a_guess_is_asked_of_more_of_the_sample_than_its_share(topk: int) -> None:
    share = topk / 33
    rank = index_topk.rank_of(topk, 33)
    assert share + 4.9 * share**0.5 <= rank <= share + 5 * share**0.5 + 1
    assert rank * 33 < 2 * index_topk.CAPACITY

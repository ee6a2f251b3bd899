"""Compiles CUDA C++ when it is first used, and launches it.

What Triton can't say, a scatter into shared memory or an instruction of one chip, is written in CUDA C++.
Serving images have no nvcc, but NVRTC and its bindings, which PyTorch needs too: a kernel compiles in a
second, once in a process, for the GPU at hand. Where they are missing, whoever calls takes another form.

A launch goes to PyTorch's current stream, so it can be captured in a CUDA graph, if the kernel was compiled
before.
"""

from collections.abc import Mapping, Sequence
from ctypes import c_float, c_int, c_void_p
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

Argument = torch.Tensor | int | float | Any
"""Of a launch: a tensor's address, a whole number or a float, of 32 bits each, or what has `getPtr`, as a
tensor map of the driver's."""
MOST_STATIC = 48 * 1024
"""Bytes of shared memory that a kernel has without being given more."""


class CompileError(RuntimeError):
    """The source doesn't compile; the message is NVRTC's."""


@cache
def available() -> bool:
    """Return whether NVRTC and the driver can be called."""
    try:
        driver(), nvrtc().nvrtcVersion()
    except (ImportError, OSError, RuntimeError):
        return False
    return True


def driver() -> Any:
    """Return the driver's bindings."""
    return import_module("cuda.bindings.driver")


def nvrtc() -> Any:
    """Return NVRTC's bindings."""
    return import_module("cuda.bindings.nvrtc")


def checked(answer: tuple[Any, ...]) -> Any:
    """Return what a call of the bindings returned besides its status. Raises RuntimeError for a failure."""
    status, *rest = answer
    if int(status) != 0:
        raise RuntimeError(f"{type(status).__name__}: {status.name} ({int(status)})")
    return rest[0] if len(rest) == 1 else rest


def tensor_map(address: int, sizes: list[int], strides: list[int], box: list[int]) -> Any:
    """Return the map of a tensor of bytes, by which the tensor memory accelerator fetches a box of it into
    shared memory, swizzled in rows of 128 bytes.

    sizes, box: innermost first. strides: bytes, of all dimensions but the innermost, multiples of 16.
    """
    api = driver()
    return checked(
        api.cuTensorMapEncodeTiled(
            api.CUtensorMapDataType.CU_TENSOR_MAP_DATA_TYPE_UINT8,
            len(sizes),
            address,
            [api.cuuint64_t(n) for n in sizes],
            [api.cuuint64_t(n) for n in strides],
            [api.cuuint32_t(n) for n in box],
            [api.cuuint32_t(1)] * len(sizes),
            api.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
            api.CUtensorMapSwizzle.CU_TENSOR_MAP_SWIZZLE_128B,
            api.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            api.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    )


def compiled(source: str, architecture: str, defines: Mapping[str, int | str]) -> bytes:
    """Compile a source to machine code.

    Args:
        source: CUDA C++ without includes.
        architecture: As `sm_90a`.
        defines: Macros and their values.

    Raises:
        CompileError: it doesn't compile.
    """
    api = nvrtc()
    program = checked(api.nvrtcCreateProgram(source.encode(), b"kernel.cu", 0, [], []))
    options = [f"--gpu-architecture={architecture}", "--std=c++17", "-default-device"]
    options += [f"-D{name}={value}" for name, value in defines.items()]
    given = [option.encode() for option in options]
    (status,) = api.nvrtcCompileProgram(program, len(given), given)
    if int(status) != 0:
        log: bytes = b" " * checked(api.nvrtcGetProgramLogSize(program))
        checked(api.nvrtcGetProgramLog(program, log))
        raise CompileError(log.decode(errors="replace").strip("\0 \n"))
    code: bytes = b" " * checked(api.nvrtcGetCUBINSize(program))
    checked(api.nvrtcGetCUBIN(program, code))
    checked(api.nvrtcDestroyProgram(program))
    return code


class Kernel:
    """A kernel, compiled for one architecture; devices of that architecture share it."""

    def __init__(self, path: Path, name: str, architecture: str, defines: Mapping[str, int | str]) -> None:
        """Compile and load.

        path: of the source. name: of its function, which is `extern "C"`.
        """
        api = driver()
        torch.cuda.init()  # type: ignore[no-untyped-call]
        self._code = compiled(path.read_text(), architecture, defines)
        self._library = checked(api.cuLibraryLoadData(self._code, [], [], 0, [], [], 0))
        self._kernel = checked(api.cuLibraryGetKernel(self._library, name.encode()))
        self._function = api.CUfunction(int(self._kernel))
        self._allowed: dict[int, int] = {}

    def launch(
        self,
        grid: int | tuple[int, int],
        threads: int,
        shared: int,
        arguments: Sequence[Argument],
        early: bool = False,
    ) -> None:
        """Launch on PyTorch's current device and stream.

        grid: blocks, in one dimension or two. shared: bytes of dynamic shared memory. early: begin while the
        kernel before it ends; the source then says from where on it waits for that one.
        """
        api, device = driver(), torch.cuda.current_device()
        if shared > self._allowed.get(device, MOST_STATIC):
            most = api.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            checked(api.cuKernelSetAttribute(most, shared, self._kernel, checked(api.cuDeviceGet(device))))
            self._allowed[device] = shared
        config = api.CUlaunchConfig()
        x, y = (grid, 1) if isinstance(grid, int) else grid
        config.gridDimX, config.gridDimY, config.gridDimZ = x, y, 1
        config.blockDimX, config.blockDimY, config.blockDimZ = threads, 1, 1
        config.sharedMemBytes = shared
        config.hStream = api.CUstream(torch.cuda.current_stream().cuda_stream)
        config.attrs = [_begins_early()] if early else []
        config.numAttrs = len(config.attrs)
        values, types = zip(*(_argument(x) for x in arguments), strict=True)
        checked(api.cuLaunchKernelEx(config, self._function, (values, types), 0))


def _begins_early() -> Any:
    """Return a launch's attribute: it need not wait for the end of the kernel before it on its stream."""
    api, attribute = driver(), driver().CUlaunchAttribute()
    attribute.id = api.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
    attribute.value.programmaticStreamSerializationAllowed = 1
    return attribute


def _argument(x: Argument) -> tuple[Any, Any]:
    """Return an argument as the bindings take it: its value and its type."""
    if isinstance(x, torch.Tensor):
        return x.data_ptr(), c_void_p
    if isinstance(x, int):
        return x, c_int
    return (x, c_float) if isinstance(x, float) else (x, None)

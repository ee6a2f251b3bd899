"""Files and functions are of a size that can be read at once; what is larger stands here, with its reason."""

import ast
import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "kernels", "operator", "runtime", "testbed")
LONGEST_FILE, MEDIAN_FILE, LONGEST_FUNCTION = 350, 120, 40

PROGRAM = "a Triton kernel is one program"
LAUNCH = "a launch: strides in the order of the kernel's arguments"
LONG_FUNCTIONS = {
    "kernels/indexcache_kernels/index_keys/__init__.py": {"check": "an error for each argument, in order"},
    "kernels/indexcache_kernels/index_keys/triton.py": {"index_keys_triton": LAUNCH, "store_kernel": PROGRAM},
    "kernels/indexcache_kernels/index_topk_decode/cuda.py": {"index_topk_decode_cuda": LAUNCH},
    "kernels/indexcache_kernels/index_topk/triton.py": {
        "index_topk_kernel": PROGRAM,
        "index_topk_triton": LAUNCH,
    },
    "kernels/indexcache_kernels/reuse_overlap/triton.py": {"reuse_overlap_kernel": PROGRAM},
    "operator/indexcache_operator/observe/look.py": {"_look": "a line for each field of what was seen"},
    "runtime/indexcache_runtime/vllm/api_server/exposition.py": {"families": "one after the other, as shown"},
    "runtime/indexcache_runtime/vllm/worker/cuda/graphs.py": {"__init__": "a line for each thing kept"},
    "testbed/dsa_cpu/dsa_cpu/reference.py": {"__call__": "vLLM's own order of steps, to be read beside it"},
    "testbed/indexcache_testbed/cluster/buildah.py": {"build": "a build, one command after the other"},
    "testbed/indexcache_testbed/model/export.py": {"config": "a config.json: a line for each field"},
    "testbed/indexcache_testbed/model/patterns.py": {"choose": "a search, whose steps share their values"},
    "testbed/indexcache_testbed/model/train.py": {"main": "a command line, and what it calls in turn"},
}
"""By path and name: why it isn't shorter."""


@cache
def sources() -> tuple[tuple[str, str], ...]:
    """Return paths and texts of all modules that are shipped, but for empty ones."""
    found = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return tuple((str(path.relative_to(ROOT)), text) for path in found if (text := path.read_text()).strip())


def functions() -> Iterator[tuple[tuple[str, str], int]]:
    """Yield each function by its path and name, and how many lines it has."""
    for path, text in sources():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield (path, node.name), node.end_lineno - node.lineno + 1


def test_no_file_is_longer_than_can_be_read_at_once() -> None:
    lengths = {path: len(text.splitlines()) for path, text in sources()}
    assert len(lengths) > 200
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}
    assert statistics.median(lengths.values()) <= MEDIAN_FILE


def test_long_functions_are_listed_with_their_reasons() -> None:
    long = {name for name, length in functions() if length > LONGEST_FUNCTION}
    assert long == {(path, name) for path, listed in LONG_FUNCTIONS.items() for name in listed}

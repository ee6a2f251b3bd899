"""Lists what is read of the machine: nothing but what stands here, each with its reason.

A value that differs between machines makes a test pass on one and fail on another. So a new reading is a new
line here, and whoever adds it says why it decides nothing, or gives the value explicitly instead. Found by
the syntax tree: names of modules whatever they are imported as, and texts that are paths of the kernel's file
systems or names of programs that describe the machine.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("tests", "testbed", "core", "operator", "runtime", "kernels", "benchmarks", "scripts")

NAMES = (
    "os.cpu_count",
    "os.process_cpu_count",
    "os.sched_getaffinity",
    "os.sysconf",
    "os.getloadavg",
    "os.uname",
    "os.statvfs",
    "multiprocessing.cpu_count",
    "shutil.disk_usage",
    "socket.gethostname",
    "resource.getrlimit",
    "sys.platform",
    "sys.byteorder",
    "platform",
    "psutil",
    "cpuinfo",
    "torch.backends",
    "torch.cpu",
    "torch.get_num_threads",
    "torch.cuda.is_available",
    "torch.cuda.device_count",
    "torch.cuda.get_device_name",
    "torch.cuda.get_device_properties",
    "torch.cuda.get_device_capability",
    "torch.cuda.mem_get_info",
    "vllm.platforms",
)
"""Modules, and their members, that tell of the machine; a member of a member counts as well."""
TEXTS = ("/proc", "/sys", "/dev/shm", "/etc/os-release", "lscpu", "nproc", "numactl", "uname")
"""Beginnings of paths, and names of programs."""

HEADER = "shown in the head of the engine tests, and decides nothing"
SHOWN = "written beside a benchmark's result, so that it can be compared"
PROCESS = "of a process: whether it lives, what it is, what it uses"
GPU = "of a GPU, which `make test` never uses"
NEEDED = "checked before anything is made, and told if it is not there"
NETWORK = "set in the cluster's own network, not read"
OURS = "where our platform takes the place of vLLM's"
DEVICE = "cpu or cuda: the one that the installed vLLM is built for"
CUDA = "runtime/indexcache_runtime/vllm/worker/cuda"
CLUSTER = "testbed/indexcache_testbed/cluster"
ALLOWED = {
    ("benchmarks/chaos.py", "platform"): SHOWN,
    ("benchmarks/cuda_engine.py", "torch.cuda.get_device_name"): SHOWN,
    ("benchmarks/cuda_runtime.py", "torch.cuda.get_device_properties"): SHOWN,
    ("benchmarks/evidence.py", "platform"): SHOWN,
    ("benchmarks/flood.py", "platform"): SHOWN,
    ("benchmarks/kernels.py", "torch.cuda.get_device_name"): SHOWN,
    ("benchmarks/kernels_topk_decode.py", "torch.cuda.get_device_properties"): GPU,
    ("benchmarks/off_cost.py", "/proc/cpuinfo"): SHOWN,
    ("benchmarks/off_cost.py", "os.cpu_count"): SHOWN,
    ("benchmarks/odd_input.py", "platform"): SHOWN,
    ("benchmarks/off_cost.py", "platform"): SHOWN,
    ("benchmarks/rollouts.py", "platform"): SHOWN,
    ("benchmarks/flood_webhook.py", "os.cpu_count"): SHOWN,
    ("benchmarks/flood_webhook.py", "platform"): SHOWN,
    ("benchmarks/live.py", "os.cpu_count"): SHOWN,
    ("benchmarks/scale.py", "os.cpu_count"): SHOWN,
    ("benchmarks/scale.py", "platform"): SHOWN,
    ("benchmarks/scale_process.py", "/proc/"): PROCESS,
    ("benchmarks/scale_process.py", "os.sysconf"): PROCESS,
    (f"{CUDA}/build.py", "torch.cuda.get_device_capability"): GPU,
    (f"{CUDA}/sampled_rows.py", "torch.cuda.get_device_properties"): GPU,
    ("kernels/indexcache_kernels/index_topk/cuda.py", "torch.cuda.get_device_capability"): GPU,
    ("kernels/indexcache_kernels/index_topk/cuda.py", "torch.cuda.get_device_properties"): GPU,
    ("kernels/indexcache_kernels/index_topk_decode/cuda.py", "torch.cuda.get_device_capability"): GPU,
    ("kernels/indexcache_kernels/index_topk_decode/cuda.py", "torch.cuda.get_device_properties"): GPU,
    ("kernels/indexcache_kernels/index_topk/triton.py", "torch.cuda.get_device_properties"): GPU,
    ("kernels/indexcache_kernels/reuse_overlap/cuda.py", "torch.cuda.get_device_capability"): GPU,
    (f"{CUDA}/graphs.py", "torch.cuda.mem_get_info"): GPU,
    (
        "runtime/indexcache_runtime/vllm/api_server/headers.py",
        "os.uname",
    ): "the pod's name, in a header for people",
    (
        "operator/indexcache_operator/settings.py",
        "socket.gethostname",
    ): "the pod's name, by which an operator holds the Lease where it is told no other",
    ("runtime/indexcache_runtime/vllm/engine_core/takeover.py", "vllm.platforms"): DEVICE,
    ("runtime/indexcache_runtime/vllm/worker/attach.py", "vllm.platforms"): DEVICE,
    ("testbed/dsa_cpu/dsa_cpu/__init__.py", "vllm.platforms"): OURS,
    ("testbed/dsa_cpu/dsa_cpu/cpu_platform.py", "vllm.platforms"): OURS,
    (
        f"{CLUSTER}/cgroups.py",
        "/sys/fs/cgroup",
    ): "where the pods' control groups are made; both versions are served",
    (f"{CLUSTER}/clean.py", "/proc"): PROCESS,
    (f"{CLUSTER}/configs.py", "/proc/sys/net/bridge/bridge-nf-call-iptables"): NETWORK,
    (f"{CLUSTER}/configs.py", "/proc/sys/net/ipv4/ip_forward"): NETWORK,
    (f"{CLUSTER}/handle.py", "/proc/"): PROCESS,
    (f"{CLUSTER}/lifecycle.py", "/proc/$$/stat"): PROCESS,
    (f"{CLUSTER}/prerequisites.py", "/proc/sys/net/bridge/bridge-nf-call-iptables"): NEEDED,
    (f"{CLUSTER}/prerequisites.py", "/sys/fs/cgroup"): NEEDED,
    (f"{CLUSTER}/prerequisites.py", "shutil.disk_usage"): NEEDED,
    (f"{CLUSTER}/prerequisites.py", "sys.platform"): NEEDED,
    (f"{CLUSTER}/processes.py", "/proc/"): PROCESS,
    (f"{CLUSTER}/tenancy.py", "/proc/"): PROCESS,
    (f"{CLUSTER}/tenancy.py", "/proc/locks"): PROCESS,
    ("testbed/indexcache_testbed/model/train.py", "torch.backends"): GPU,
    ("testbed/indexcache_testbed/model/train.py", "torch.cuda.get_device_name"): SHOWN,
    (
        "testbed/indexcache_testbed/model/train.py",
        "torch.cuda.is_available",
    ): "trains on a GPU where there is one; tests train on the CPU",
    ("tests/cluster/test_process.py", "/proc/"): PROCESS,
    ("tests/cluster/test_testbed.py", "/proc"): PROCESS,
    ("tests/cluster/test_testbed.py", "/proc/"): PROCESS,
    (
        "tests/cluster/test_testbed.py",
        "/proc/self/mounts",
    ): "compared with itself: before a cluster and after it",
    ("tests/gpu/test_index_topk.py", "torch.cuda.get_device_capability"): GPU,
    ("tests/engine/machine.py", "/proc/cpuinfo"): HEADER,
    ("tests/engine/machine.py", "os.sched_getaffinity"): HEADER,
    (
        "tests/engine/platform_config.py",
        "torch.cpu",
    ): "replaced, so that vLLM finds a CPU with AMX and one without",
    (
        "tests/engine/test_probes_served.py",
        "lscpu",
    ): "vLLM's platform runs it at import, whatever it is asked",
    ("tests/gpu/test_cuda_conformance.py", "torch.cuda.is_available"): GPU,
    ("tests/gpu/test_cuda_fast_indexer.py", "torch.cuda.is_available"): GPU,
    ("tests/gpu/test_index_topk_decode.py", "torch.cuda.is_available"): GPU,
    ("tests/gpu/test_cuda_graphs.py", "torch.cuda.is_available"): GPU,
    ("tests/gpu/test_cuda_graphs.py", "torch.cuda.mem_get_info"): GPU,
    ("tests/gpu/test_cuda_tensor_parallel.py", "torch.cuda.device_count"): GPU,
    ("tests/gpu/test_index_keys.py", "torch.cuda.is_available"): GPU,
    ("tests/gpu/test_index_topk.py", "torch.cuda.is_available"): GPU,
    ("tests/gpu/test_reuse_overlap.py", "torch.cuda.is_available"): GPU,
    ("tests/unit/runtime/vllm/api_server/test_headers.py", "os.uname"): "the same name as in the header",
    ("tests/unit/runtime/control/test_server.py", "/proc/self/statm"): PROCESS,
    ("tests/unit/testbed/test_cluster_machine.py", "/proc/self/stat"): PROCESS,
    ("tests/unit/testbed/test_cluster_tenancy.py", "/proc/self/stat"): PROCESS,
    (
        "tests/unit/test_flood_benchmark.py",
        "os.sched_getaffinity",
    ): "any one core that this process may use, for strangers",
    ("tests/unit/test_threads.py", "torch.get_num_threads"): "what the tests themselves give",
}
"""(file, what): why it decides nothing that a test could fail by."""


def described(tree: ast.Module) -> Iterator[str]:
    """Yield what a file reads of the machine."""
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for a in node.names:
                top = a.name.partition(".")[0]
                modules[a.asname or top] = a.name if a.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        for text in _named(node, modules):
            yield from (name for name in NAMES if text == name or text.startswith(f"{name}."))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield from _told(node.value)


def _named(node: ast.AST, modules: dict[str, str]) -> Iterator[str]:
    """Yield the full name that an expression or an import means."""
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield from (f"{node.module}.{a.name}" for a in node.names)
    members: list[str] = []
    while isinstance(node, ast.Attribute):
        members.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Name) and node.id in modules:
        yield ".".join([modules[node.id], *members])


def _told(text: str) -> Iterator[str]:
    """Yield the words of a text that are paths of the kernel's or names of such programs."""
    for word in text.split():
        bare = word.strip("`'\"();,")
        if any(bare == known or (known.startswith("/") and bare.startswith(f"{known}/")) for known in TEXTS):
            yield bare


def readings() -> set[tuple[str, str]]:
    """Return all readings, by file."""
    files = [f for folder in FOLDERS for f in (ROOT / folder).rglob("*.py") if f != Path(__file__)]
    return {(str(f.relative_to(ROOT)), what) for f in files for what in described(ast.parse(f.read_text()))}


def test_each_reading_is_listed_with_its_reason() -> None:
    found = readings()
    assert sorted(found - ALLOWED.keys()) == [], "give the value explicitly, or list it with its reason"
    assert sorted(ALLOWED.keys() - found) == [], "listed, but read no more"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os\nn = os.cpu_count()", ["os.cpu_count"]),
        ("import os as o\nn = o.cpu_count()", ["os.cpu_count"]),
        ("from os import sched_getaffinity as a\na(0)", ["os.sched_getaffinity"]),
        ("import platform\nplatform.machine()", ["platform"]),
        ("from platform import processor", ["platform"]),
        ("import torch\nif torch.backends.mkldnn.is_available(): pass", ["torch.backends"]),
        ("import torch\ntorch.cpu._is_amx_tile_supported()", ["torch.cpu"]),
        ("from pathlib import Path\nPath('/proc/cpuinfo').read_text()", ["/proc/cpuinfo"]),
        ("f'/proc/{pid}/stat'", ["/proc/"]),
        ("run(['lscpu', '-J'])", ["lscpu"]),
        ("import os\nos.environ['HOME']; x.cpu_count(); 'a process'; '/processes'", []),
    ],
)
def test_a_reading_is_found_whatever_it_is_called(source: str, expected: list[str]) -> None:
    assert set(described(ast.parse(source))) == set(expected)

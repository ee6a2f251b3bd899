"""Tests what the operator drags in: a small process that shares no fate with torch."""

import json
import subprocess
import sys

MEGABYTES = 120

PROGRAM = """
import json, sys
import indexcache_operator.main
foreign = sorted({m.partition('.')[0] for m in sys.modules} & {'torch', 'vllm', 'numpy', 'transformers', 'triton'})
resident = next(line for line in open('/proc/self/status') if line.startswith('VmRSS'))  # not the peak: that is inherited over a fork
print(json.dumps([foreign, int(resident.split()[1]) // 1024]))
"""


def test_is_small_and_knows_neither_torch_nor_vllm() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    foreign, megabytes = json.loads(done.stdout)
    assert foreign == []
    assert megabytes <= MEGABYTES

"""Kernels in Triton's interpreter, which is chosen when Triton is imported, for the whole process: so each
test file has one of its own.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch


def interpreted(script: str, out: Path) -> Any:
    """Return what a script saves to the path that is its argument. It prints the type of its kernel, which
    shows that it is interpreted.
    """
    done = subprocess.run(
        [sys.executable, "-c", script, str(out)],
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "InterpretedFunction", done.stdout
    return torch.load(out)

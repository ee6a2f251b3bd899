"""Tests that unit tests leave the machine to one another."""

import subprocess
import sys

import torch


def test_torch_runs_one_thread_here_and_in_what_tests_start() -> None:
    assert torch.get_num_threads() == 1
    told = [sys.executable, "-c", "import torch; print(torch.get_num_threads())"]
    assert subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip() == "1"

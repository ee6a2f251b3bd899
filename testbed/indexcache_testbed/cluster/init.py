"""Process 1 of the cluster's namespaces: sets up the network, starts every component, reaps what ends.

Run as `python -m indexcache_testbed.cluster.init PLAN`, by `lifecycle`, in new network, process and mount
namespaces. Its end is the end of everything in them. It reports in a file, a JSON object a line, and restarts
nothing: a component that ends is a fact that `testbed status` shows, and that a waiting `up` fails by.

Trap: shims of containerd are adopted here when containerd's own child ends, so any child is waited for, never
a particular one.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Init:
    """The state of process 1."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self._plan = plan
        self._names: dict[int, str] = {}

    def main(self) -> None:
        """Start everything in order, then reap for ever."""
        for directory in self._plan["directories"]:
            os.makedirs(directory, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", directory], check=True)
        for command in self._plan["commands"]:
            subprocess.run(command, check=True)
        for file, value in self._plan["sysctls"].items():
            Path(file).write_text(value)
        self._start(self._plan["first"])
        self._await_api_server(self._plan["ready"])
        self._start(self._plan["then"])
        while True:
            self._reaped(*os.wait())

    def _start(self, components: Mapping[str, Sequence[str]]) -> None:
        for name, argv in components.items():
            with (Path(self._plan["logs"]) / f"{name}.log").open("ab") as log:
                process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
                )
            process.returncode = 0  # reaped by os.wait below; keeps Popen from waiting for it too
            self._names[process.pid] = name
            self._tell(event="started", name=name, pid=process.pid)

    def _await_api_server(self, ready: Mapping[str, str]) -> None:
        context = ssl.create_default_context(cafile=ready["ca"])
        context.load_cert_chain(ready["crt"], ready["key"])
        while not _answers(ready["url"], context):
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                self._reaped(pid, status)
            time.sleep(0.05)
        self._tell(event="ready", name="kube-apiserver")

    def _reaped(self, pid: int, status: int) -> None:
        if name := self._names.pop(pid, None):
            self._tell(event="ended", name=name, pid=pid, status=os.waitstatus_to_exitcode(status))

    def _tell(self, **fields: object) -> None:
        with Path(self._plan["events"]).open("a") as events:
            events.write(json.dumps({"at": time.time(), **fields}) + "\n")


def _answers(url: str, context: ssl.SSLContext) -> bool:
    try:
        with urllib.request.urlopen(url, context=context, timeout=2) as answer:
            return bool(answer.status == 200)
    except (
        urllib.error.URLError,
        OSError,
    ):  # not listening yet, or not ready: 500 is an HTTPError, which is a URLError
        return False


if __name__ == "__main__":
    Init(json.loads(Path(sys.argv[1]).read_text())).main()

"""A cluster by name: whether it runs, and how to run a command in its network.

Only the network namespace is entered: a command in it sees the host's files and processes, and reaches the
API server, the Services and the pods. Entering from within is harmless, so callers need not know where they
are.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import TestbedError
from .layout import DEFAULT_NAME, Layout
from .processes import Process
from .shell import run

CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster by its name. Holds no state of its own: everything is read from its directory."""

    layout: Layout

    @classmethod
    def named(cls, name: str = DEFAULT_NAME) -> Cluster:
        """Return the cluster of this name, whether it runs or not."""
        return cls(Layout.of(name))

    def launcher(self) -> Process | None:
        """Return the process whose end takes the cluster with it; None when there is none alive."""
        return Process.recorded(self.layout.launcher)

    def init(self) -> Process | None:
        """Return process 1 of the cluster's namespaces; None when it does not run."""
        launcher = self.launcher()
        children = launcher.children() if launcher else []
        return children[0] if children else None

    def enter(self, argv: Sequence[str | Path]) -> list[str]:
        """Return a command line that runs `argv` in the cluster's network.

        Raises:
            TestbedError: the cluster does not run.
        """
        init = self.init()
        if init is None:
            raise self.not_running()
        return ["nsenter", "-t", str(init.pid), "-n", *map(str, argv)]

    def environment(self) -> dict[str, str]:
        """Return variables for a command in the cluster: where its API server is, and its own kubectl and
        helm first on the PATH.
        """
        recorded = json.loads(self.layout.started_from.read_text())
        path = f"{recorded['binaries']}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
        return {"KUBECONFIG": str(self.layout.kubeconfig), "PATH": path, "TESTBED_NAME": self.layout.name}

    def join(self) -> None:
        """Move the calling thread, and every thread and process that it starts from now on, into the
        cluster's network.

        For programs that speak to the cluster themselves (a Kubernetes client, a load): call it first, from
        the main thread. Sets KUBECONFIG, PATH and TESTBED_NAME too. There is no way back but a new process.

        Raises:
            TestbedError: the cluster does not run.
            OSError: the process lacks CAP_SYS_ADMIN.
        """
        init = self.init()
        if init is None:
            raise self.not_running()
        libc = ctypes.CDLL(None, use_errno=True)  # os.setns comes with Python 3.12
        with open(f"/proc/{init.pid}/ns/net", "rb") as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, f"setns to the network of {self.layout.name}: {os.strerror(number)}")
        os.environ.update(self.environment())

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 600,
    ) -> str:
        """Run a command in the cluster's network to its end and return its standard output.

        Raises:
            CommandError: it failed or ran out of time.
            TestbedError: the cluster does not run.
        """
        return run(self.enter(argv), stdin=stdin, env={**self.environment(), **(env or {})}, timeout=timeout)

    def kubectl(self, *words: str | Path, stdin: str | None = None, timeout: float = 300) -> str:
        """Run kubectl as administrator and return its standard output."""
        return self.run(["kubectl", *words], stdin=stdin, timeout=timeout)

    def get(self, *words: str) -> Any:
        """Return `kubectl get ... -o json`, parsed; None where the named object does not exist."""
        text = self.kubectl("get", *words, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def items(self, *words: str) -> list[dict[str, Any]]:
        """Return the items of `kubectl get KIND ... -o json`, none if there are none."""
        found = self.get(*words)
        return list(found["items"]) if found else []

    def not_running(self) -> TestbedError:
        """Return what to raise where the cluster must run and does not."""
        return TestbedError(f"the cluster {self.layout.name} does not run; start it with `testbed up`")

"""Watches a process from outside: its memory and its processor time, and what it asked of an API server, by
that one's audit log.
"""

import asyncio
import json
import os
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

AUDITED = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: [operator-a]}
- {level: None}
"""
"""An audit policy: all that the operator asks, and nothing of others."""
READS = ("get", "list")


@dataclass
class Watched:
    """Holds what was seen of a process."""

    pid: int
    megabytes: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)

    def seconds(self) -> float:
        """Return the processor time that it has used, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> float:
        """Return the memory that it holds now, in MiB."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found
        return int(found[1]) / 1024

    async def watch(self, seconds: float, every: float, told: Any = None) -> float:
        """Watch it for a time. Return the cores that it used in the mean."""
        began, first = time.monotonic(), self.seconds()
        last, at = first, began
        while (left := began + seconds - time.monotonic()) > 0:
            await asyncio.sleep(min(every, left))
            now, used = time.monotonic(), self.seconds()
            self.megabytes.append(self.resident())
            self.cores.append((used - last) / (now - at))
            last, at = used, now
            if told is not None:
                told(self)
        return (self.seconds() - first) / (time.monotonic() - began)


def asked(audit: Path, since: datetime, until: datetime) -> Counter[str]:
    """Return how many requests came in a time, by their verb; a write that is not stored is a `dry-run`."""
    found = Counter[str]()
    with audit.open() as lines:
        for line in lines:
            event = json.loads(line)
            came = datetime.fromisoformat(event["requestReceivedTimestamp"])
            if not since <= came < until or event["stage"] not in ("ResponseComplete", "ResponseStarted"):
                continue
            if (event["verb"] == "watch") is not (event["stage"] == "ResponseStarted"):
                continue
            found["dry-run" if "dryRun=" in event["requestURI"] else event["verb"]] += 1
    return found


def writes(found: Counter[str]) -> int:
    """Return how many of these requests were writes."""
    return sum(count for verb, count in found.items() if verb not in (*READS, "watch", "dry-run"))


def reads(found: Counter[str]) -> int:
    """Return how many of these requests were reads, beside watches."""
    return sum(count for verb, count in found.items() if verb in (*READS, "dry-run"))

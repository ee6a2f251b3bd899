"""kubectl, as a person would use it: what it says is what the scenarios go by."""

import json
from typing import Any

import yaml

from indexcache_testbed.scenario.command import run


async def kubectl(*args: str, stdin: str = "", within: float = 120) -> str:
    """Run kubectl; its output. CommandError with what it said."""
    return await run("kubectl", *args, stdin=stdin, within=within)


async def apply(*objects: dict[str, Any]) -> None:
    """Run `kubectl apply` on these objects."""
    await kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))


async def get(kind: str, name: str, namespace: str) -> dict[str, Any]:
    """Return one object. CommandError if it isn't there."""
    found: dict[str, Any] = json.loads(await kubectl("-n", namespace, "get", kind, name, "-o", "json"))
    return found


async def find(kind: str, name: str, namespace: str) -> dict[str, Any] | None:
    """Return one object, or None."""
    text = await kubectl("-n", namespace, "get", kind, name, "-o", "json", "--ignore-not-found")
    return json.loads(text) if text.strip() else None


async def items(kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
    """Return objects by label."""
    found: list[dict[str, Any]] = json.loads(
        await kubectl("-n", namespace, "get", kind, "-l", selector, "-o", "json")
    )["items"]
    return found

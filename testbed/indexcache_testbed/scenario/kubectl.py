"""kubectl, as a person would use it: what it says is what the scenarios go by."""

import asyncio
import json
from typing import Any

import yaml


class KubectlError(RuntimeError):
    """kubectl ended with an error; the text is its own."""


async def kubectl(*args: str, stdin: str | None = None, within: float = 120) -> str:
    """Run kubectl; its output. Raises KubectlError with what it said."""
    process = await asyncio.create_subprocess_exec(
        "kubectl", *args, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin.encode() if stdin else b""), within)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise KubectlError(f"kubectl {' '.join(args)}: no answer in {within:.0f} s") from None
    if process.returncode:
        raise KubectlError(f"kubectl {' '.join(args)}: {err.decode().strip()}")
    return out.decode()


async def apply(*objects: dict[str, Any]) -> None:
    """kubectl apply these."""
    await kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))


async def get(kind: str, name: str, namespace: str) -> dict[str, Any]:
    """One object. Raises KubectlError if it isn't there."""
    found: dict[str, Any] = json.loads(await kubectl("-n", namespace, "get", kind, name, "-o", "json"))
    return found


async def find(kind: str, name: str, namespace: str) -> dict[str, Any] | None:
    """One object, or None."""
    text = await kubectl("-n", namespace, "get", kind, name, "-o", "json", "--ignore-not-found")
    return json.loads(text) if text.strip() else None


async def items(kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
    """Objects by label."""
    found: list[dict[str, Any]] = json.loads(await kubectl("-n", namespace, "get", kind, "-l", selector, "-o", "json"))["items"]
    return found

"""What a user's cluster would have: the operator from its chart, alert rules, probes, and a route to the engines.

Runs inside the testbed's network; the images are in the cluster already. Everything is applied, so doing it again changes nothing.
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp

from indexcache_testbed import product
from indexcache_testbed.model.questions import ask, past_2k
from indexcache_testbed.scenario import kubectl

NAMESPACE, ROLLOUT = "serving", "demo"
ROUTE, RULE, MODEL = "chat", "generate", "/models/tiny_dsa"
OPERATOR_NAMESPACE, OPERATOR = "indexcache-system", "indexcache-operator"
CHART = product.ROOT / "charts/indexcache-operator"
PROBES, PROBES_EACH, PROBE_SEED = "demo-probes", 24, 99
PROBE_PAIRS = (16, 64, 128, 256, 432)
ALERT_WINDOW = "3s"
"""Over which Prometheus averages; it scrapes and evaluates each second here."""


async def operator() -> None:
    """The operator and its alert rules, from the chart. Prometheus reads the rules when it starts, so it is started anew if they changed."""
    before = await kubectl.find("configmap", "indexcache-rules", "monitoring")
    token = base64.b64decode((await kubectl.get("secret", "alertmanager-receiver", "monitoring"))["data"]["token"]).decode()
    values: dict[str, Any] = {
        "image": _image("operator"),
        "runtime": _image("runtime"),
        "webhook": {"token": token},
        "networkPolicy": {"engineNamespaces": [NAMESPACE]},
        "alerts": {"window": ALERT_WINDOW, "minSamples": 10, "configMap": {"namespace": "monitoring"}},
    }
    await run(
        *("helm", "upgrade", "--install", "indexcache", str(CHART), "--namespace", OPERATOR_NAMESPACE, "--create-namespace"),
        *("--values", "-", "--wait", "--timeout", "120s"),
        stdin=json.dumps(values),
    )
    after = await kubectl.get("configmap", "indexcache-rules", "monitoring")
    if before is None or before["data"] != after["data"]:
        await kubectl.kubectl("-n", "monitoring", "rollout", "restart", "deployment/prometheus")
    await kubectl.kubectl("-n", "monitoring", "rollout", "status", "deployment/prometheus", "--timeout=60s")


def _image(target: str) -> dict[str, str]:
    return {"repository": product.repository(target), "tag": product.tag(target), "pullPolicy": "Never"}


async def fresh() -> None:
    """Without the rollout of an earlier run; its policy retains the engines, so they need not start again."""
    await kubectl.kubectl("-n", NAMESPACE, "delete", "icr", ROLLOUT, "--ignore-not-found", "--timeout=60s")


async def companions() -> None:
    """What the rollout's user brings: a route and probes."""
    await kubectl.apply(route(), probes())


def route() -> dict[str, Any]:
    """The users' route: one named rule, to the baseline's Service."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": ROUTE, "namespace": NAMESPACE},
        "spec": {
            "parentRefs": [{"name": "gw", "namespace": "infra"}],
            "rules": [
                {
                    "name": RULE,
                    "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
                    "timeouts": {"request": "60s"},
                    "backendRefs": [{"name": f"{ROLLOUT}-baseline", "port": 8000}],
                }
            ],
        },
    }


def probes() -> dict[str, Any]:
    """Questions of all sizes that users may come to ask, each as a prompt and the right answer as its continuation."""
    lines = []
    for pairs in PROBE_PAIRS:
        for index in range(PROBES_EACH):
            probe = ask(pairs, seed=PROBE_SEED, index=index, history=past_2k(pairs)).probe()
            line = {"prompt": probe.prompt, "continuation": f" {probe.continuation}", "contextTokens": probe.tokens}
            lines.append(json.dumps(line))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": PROBES, "namespace": NAMESPACE},
        "data": {"probes.jsonl": "\n".join(lines) + "\n"},
    }


async def gateway() -> str:
    """The gateway's URL."""
    found = await kubectl.get("gateway", "gw", "infra")
    return f"http://{found['status']['addresses'][0]['value']}"


async def engines_answer(url: str, within: float, say: Callable[[str], None]) -> None:
    """Wait until the first answer comes through the gateway. Raises TimeoutError with what came last."""
    start, last = time.monotonic(), ""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        while time.monotonic() - start < within:
            try:
                async with session.get(f"{url}/v1/models") as response:
                    if response.status == 200:
                        say(f"the engines answer through the gateway ({time.monotonic() - start:.0f} s)")
                        return
                    last = f"{response.status} {(await response.text())[:200]}"
            except (aiohttp.ClientError, TimeoutError) as e:
                last = f"{type(e).__name__}: {e}"
            await asyncio.sleep(0.5)
    raise TimeoutError(f"no answer through the gateway in {within:.0f} s; last: {last}")


async def run(*command: str, stdin: str = "") -> str:
    """A command; its output. Raises RuntimeError with what it said."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate(stdin.encode())
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {err.decode().strip()}")
    return out.decode()

"""Tests what kube-score and kubeconform say of the chart as `helm template` renders it: nothing that
docs/security.md doesn't give a reason for.
"""

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from indexcache_operator.kube import Kube

from scripts.generate.crd import ROOT
from tests.cluster import apiserver, json_schemas
from tests.cluster.chart import helm

ALL_RIGHT = 10
VALUES = [
    ("networkPolicy.engineNamespaces={serving}",),
    ("watchNamespaces={serving}", "webhook.tlsSecret=t", "controlKeys.existingSecret=k", "crd.install=false"),
]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.fixture(scope="module")
def checks() -> Path:
    """Return the folder of kube-score and kubeconform."""
    found = sorted(apiserver.cache().glob("testbed/checks-*/kube-score"), key=lambda f: f.stat().st_mtime)
    if not found:
        pytest.fail("kube-score, kubeconform: not found in the cache; build them with `make build`")
    return found[-1].parent


def text(binaries: Path, values: tuple[str, ...]) -> str:
    done = helm(binaries, *values)
    assert done.returncode == 0, done.stderr
    return done.stdout


def findings(checks: Path, rendered: str) -> set[tuple[str, str]]:
    """Return the checks that kube-score finds fault with, and the kinds of objects that it finds it in."""
    words = [str(checks / "kube-score"), "score", "--output-format", "json", "-"]
    done = subprocess.run(words, input=rendered, capture_output=True, text=True, check=False)
    scored: list[dict[str, Any]] = json.loads(done.stdout)
    assert {one["type_meta"]["kind"] for one in scored} >= {"Deployment", "NetworkPolicy", "Service", "Job"}
    return {
        (check["check"]["id"], one["type_meta"]["kind"])
        for one in scored
        for check in one["checks"]
        if not check["skipped"] and check["grade"] < ALL_RIGHT
    }


def reasons() -> set[tuple[str, str]]:
    """Return what docs/security.md gives reasons for."""
    table = re.findall(
        r"^\| `([a-z-]+)` \| ([A-Za-z, ]+) \| .+ \|$",
        (ROOT / "docs/security.md").read_text().partition("## What kube-score says")[2],
        re.MULTILINE,
    )
    return {(check, kind) for check, kinds in table for kind in kinds.split(", ")}


def test_what_kube_score_finds_has_its_reason(binaries: Path, checks: Path) -> None:
    found = {finding for values in VALUES for finding in findings(checks, text(binaries, values))}
    assert found == reasons()


@pytest.fixture
async def schemas(kube: Kube, server: apiserver.ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a folder with a schema for each kind that the API server serves."""
    if server.url in _written:
        return _written[server.url]
    headers = {"Authorization": f"Bearer {apiserver.TOKEN}"}
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.timeout(60):
        while True:  # what a CRD adds is published a moment after it
            async with session.get(f"{server.url}/openapi/v2", ssl=False) as answer:
                openapi = await answer.json()
            if all(f'{kind}"' in json.dumps(openapi) for kind in ("IndexCacheRollout", "HTTPRoute")):
                break
            await asyncio.sleep(0.1)
    folder = _written[server.url] = tmp_path_factory.mktemp("schemas")
    json_schemas.write(openapi, folder)
    return folder


_written: dict[str, Path] = {}
"""By the server's URL."""


def conforming(checks: Path, schemas: Path, documents: str) -> subprocess.CompletedProcess[str]:
    words = [str(checks / "kubeconform"), "-strict", "-summary", "-schema-location"]
    words += [f"{schemas}/{json_schemas.LOCATION}", "-"]
    return subprocess.run(words, input=documents, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("values", VALUES, ids=["cluster-wide", "namespaced"])
def test_what_is_rendered_conforms(
    binaries: Path, checks: Path, schemas: Path, values: tuple[str, ...]
) -> None:
    done = conforming(checks, schemas, text(binaries, values))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Invalid: 0, Errors: 0, Skipped: 0" in done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_conform(checks: Path, schemas: Path, example: Path) -> None:
    done = conforming(checks, schemas, example.read_text())
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("kind: ConfigMap", "kind: ConfigMap\ntypo: 1", "additional properties 'typo' not allowed"),
        ("replicas: 2", "replicas: two", "got string, want integer"),
        ("  type: object", "  typo: object", "additional properties 'typo' not allowed"),
    ],
)
def test_what_does_not_conform_is_told(
    binaries: Path, checks: Path, schemas: Path, old: str, new: str, words: str
) -> None:
    rendered = text(binaries, VALUES[0])
    assert old in rendered
    done = conforming(checks, schemas, rendered.replace(old, new, 1))
    assert done.returncode == 1
    assert words in done.stdout

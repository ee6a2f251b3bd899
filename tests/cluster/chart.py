"""Renders the Helm chart, and names what it renders by its path of the API."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from indexcache_operator import names

from scripts.generate.crd import ROOT

CHART = ROOT / "charts" / "indexcache-operator"
PROMETHEUS_RULE = "monitoring.coreos.com/v1/PrometheusRule"
APIS = {
    "NetworkPolicy": "apis/networking.k8s.io/v1",
    "Role": "apis/rbac.authorization.k8s.io/v1",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1",
    "ClusterRole": "apis/rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "apis/rbac.authorization.k8s.io/v1",
    "Deployment": "apis/apps/v1",
    "Job": "apis/batch/v1",
    "PodDisruptionBudget": "apis/policy/v1",
    "CustomResourceDefinition": "apis/apiextensions.k8s.io/v1",
}


DIGEST = "sha256:" + "0123456789abcdef" * 4


class HelmLoader(yaml.SafeLoader):
    """Reads what Helm writes: a number like 1e-06 is one, as in YAML 1.2 and to the API server's own
    parser.
    """


HelmLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+"), list("-+0123456789")
)


def helm(
    binaries: Path, *values: str, namespace: str = "system", apis: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    words = [
        str(binaries / "helm"),
        "template",
        "indexcache-operator",
        str(CHART),
        "--namespace",
        namespace,
        "--kube-version",
        "1.37",
    ]
    words += [w for v in values for w in ("--set", v)] + [w for a in apis for w in ("--api-versions", a)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def rendered(
    binaries: Path, *values: str, namespace: str = "system", apis: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    done = helm(binaries, *values, namespace=namespace, apis=apis)
    assert done.returncode == 0, done.stderr
    return [d for d in yaml.load_all(done.stdout, Loader=HelmLoader) if d]


def path(body: dict[str, Any]) -> str:
    kind = body["kind"].lower()
    plural = kind[:-1] + "ies" if kind.endswith("y") else kind + "s"
    return names.object_path(
        APIS.get(body["kind"], "api/v1"), plural, body["metadata"].get("namespace"), body["metadata"]["name"]
    )

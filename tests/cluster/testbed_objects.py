"""Builds what the testbed's own tests put into its cluster."""

from __future__ import annotations

import json

from indexcache_testbed.cluster.base_image import ENGINE

POD: dict[str, object] = {
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "restartPolicy": "Never",
    "terminationGracePeriodSeconds": 0,
}
CONTAINER: dict[str, object] = {
    "name": "main",
    "image": ENGINE,
    "imagePullPolicy": "Never",
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}


def pod(name: str, volume: dict[str, object], command: list[str]) -> str:
    """Return a pod of serving with a volume at /data, as JSON."""
    container = {**CONTAINER, "command": command, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    spec = {**POD, "containers": [container], "volumes": [{"name": "data", **volume}]}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "serving"}, "spec": spec}
    )


BACKEND = """
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"NAME\\n")
http.server.ThreadingHTTPServer(("", 8000), Answer).serve_forever()
"""


def backend(name: str) -> list[object]:
    """Return a pod that answers with its name, and its Service."""
    meta, labels = {"name": name, "namespace": "default"}, {"app": name}
    probe = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1}
    container = {
        **CONTAINER,
        "command": ["python3", "-c", BACKEND.replace("NAME", name)],
        "readinessProbe": probe,
    }
    spec = {"selector": labels, "ports": [{"port": 8000}]}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**meta, "labels": labels},
            "spec": {**POD, "containers": [container]},
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec},
    ]


def route(old: int, new: int) -> dict[str, object]:
    """Return the route `cut`, with these weights."""
    backends = [{"name": "old", "port": 8000, "weight": old}, {"name": "new", "port": 8000, "weight": new}]
    spec = {"parentRefs": [{"name": "gw", "namespace": "infra"}], "rules": [{"backendRefs": backends}]}
    kind = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
    return {**kind, "metadata": {"name": "cut", "namespace": "default"}, "spec": spec}


ENGINE_AND_RECEIVER = """
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b"recall 0.1\\n")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        print(self.headers["Authorization"], body, flush=True)
        self.send_response(200)
        self.end_headers()
http.server.ThreadingHTTPServer(("", 8000), Answer).serve_forever()
"""
RULES = """
groups:
- name: recall
  rules:
  - {alert: RecallLow, expr: 'recall < 0.3', labels: {revision: r7}}
"""


def engine_and_receiver() -> dict[str, object]:
    """Return an engine that measures a low recall, and takes alerts."""
    labels = {"indexcache.dev/engine": "true", "indexcache.dev/rollout": "glm5"}
    ports = [{"name": "http", "containerPort": 8000}]
    spec = {
        **POD,
        "containers": [{**CONTAINER, "command": ["python3", "-c", ENGINE_AND_RECEIVER], "ports": ports}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "engine", "namespace": "serving", "labels": labels},
        "spec": spec,
    }


def rules() -> dict[str, object]:
    """Return rules by which that recall is an alert."""
    metadata = {"name": "indexcache-rules", "namespace": "monitoring"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"recall.yml": RULES}}

"""The engines' pod template: a stock engine image, and our plugin beside it.

An init container copies the plugin into a volume that PYTHONPATH names, so the engine's image stays as its
makers built it. What the user's template says wins (security context, probes, environment), but for what
carries the plugin and the control token: that is grafted on last.

Traps: vLLM loads only the plugins that VLLM_PLUGINS names once it is set, so a list of the user's is
extended, and none is left unset (setting it would hide every plugin that the user's image brings).
VLLM_PLUGINS or PYTHONPATH given through `envFrom` can't be seen here; an entry of `env` overrides it.
"""

from typing import Any

from indexcache_core.arguments import last, parse
from indexcache_core.contract import CONTROL_PORT, PORT_ENV, TOKEN_FILE_ENV

from indexcache_operator import names
from indexcache_operator.api.spec import Engine
from indexcache_operator.credentials import Control
from indexcache_operator.objects import Object
from indexcache_operator.workload import shape
from indexcache_operator.workload.merge import TemplateError, merge

USER = 65532
"""Neither root nor anybody: images need no such account."""

KEEP_ALIVE_SECONDS = "4000"
"""How long an engine keeps an idle connection: longer than gateways do (Envoy an hour), so that it never
closes one on which a request is just coming. vLLM's own default is 5 s, and a pod on its way from one Service
to the other idles for as long.
"""


_CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def pod_template(
    engine: Engine, *, rollout: str, runtime_image: str, pull_policy: str, control: Control
) -> Object:
    """Return the whole template, labels included but for the template's own hash.

    Raises TemplateError for a template that no pod can be made of.
    """
    template: Object = merge(_base(engine), engine.template)
    metadata = template.setdefault("metadata", {})
    metadata.setdefault("labels", {})
    metadata.setdefault("annotations", {})
    shape.check(template)
    spec = template["spec"]
    labels = template["metadata"]["labels"]
    labels.update(selector(rollout) | {names.BASELINE_LABEL: "true"})
    template["metadata"]["annotations"][names.CONTROL_ANNOTATION] = str(control.binding)
    _graft(spec, secret=control.secret, runtime_image=runtime_image, pull_policy=pull_policy)
    return template


def selector(rollout: str) -> dict[str, str]:
    """Return the labels that every engine pod of a rollout carries, whatever Services it stands behind."""
    return {names.ROLLOUT_LABEL: rollout, names.ENGINE_LABEL: "true"}


def _base(engine: Engine) -> Object:
    ported = last(parse(engine.args), "--port") is not None
    container = {
        "name": names.ENGINE_CONTAINER,
        "image": engine.image,
        "command": list(engine.command),
        "args": [engine.model, *engine.args, *([] if ported else [f"--port={engine.port}"])],
        "ports": [{"name": "http", "containerPort": engine.port, "protocol": "TCP"}],
        "env": [
            {"name": "HOME", "value": "/tmp"},
            {"name": "VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "value": KEEP_ALIVE_SECONDS},
        ],
        "resources": dict(engine.resources),
        "readinessProbe": {
            "httpGet": {"path": "/health", "port": "http"},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        },
        # New requests stop coming before the engine stops taking them: endpoints travel while it sleeps.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "securityContext": _CONTAINER_SECURITY,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "metadata": {"labels": {}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def _graft(spec: Object, *, secret: str, runtime_image: str, pull_policy: str) -> None:
    """Add the plugin and the token, whatever the template said."""
    container = next((c for c in spec["containers"] if c["name"] == names.ENGINE_CONTAINER), None)
    if container is None:
        raise TemplateError(
            f"spec.engine.template.spec.containers: found none named {names.ENGINE_CONTAINER}; expected the "
            "engine's own; leave it there"
        )
    plugin = {"name": names.PLUGIN_VOLUME, "mountPath": names.PLUGIN_PATH}
    init = {
        "name": names.INIT_CONTAINER,
        "image": runtime_image,
        "imagePullPolicy": pull_policy,
        "args": [names.PLUGIN_PATH],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {**_CONTAINER_SECURITY, "runAsNonRoot": True, "runAsUser": USER},
        "volumeMounts": [plugin],
    }
    others = [c for c in spec.get("initContainers", []) if c["name"] != names.INIT_CONTAINER]
    spec["initContainers"] = [init, *others]
    ours = {"volumes": [{"name": names.PLUGIN_VOLUME, "emptyDir": {}}, _token_volume(secret)]}
    spec.update(merge({"volumes": spec.get("volumes", [])}, ours))
    port = {"name": "control", "containerPort": CONTROL_PORT, "protocol": "TCP"}
    mounts = [
        {**plugin, "readOnly": True},
        {"name": names.TOKEN_VOLUME, "mountPath": names.TOKEN_PATH, "readOnly": True},
    ]
    container.update(
        merge(
            {k: container.get(k, []) for k in ("ports", "volumeMounts")},
            {"ports": [port], "volumeMounts": mounts},
        )
    )
    container["env"] = _environment(container.get("env", []))


def _token_volume(secret: str) -> Object:
    source = {
        "secretName": secret,
        "items": [{"key": names.TOKEN_KEY, "path": names.TOKEN_KEY}],
        "defaultMode": 0o444,
    }
    return {"name": names.TOKEN_VOLUME, "secret": source}


def _environment(given: list[Object]) -> list[Object]:
    fixed = {TOKEN_FILE_ENV: f"{names.TOKEN_PATH}/{names.TOKEN_KEY}", PORT_ENV: str(CONTROL_PORT)}
    out = [entry for entry in given if entry["name"] not in fixed]
    out = _joined(
        out, "PYTHONPATH", lambda old: f"{names.PLUGIN_PATH}:{old}" if old else names.PLUGIN_PATH, always=True
    )
    out = _joined(out, "VLLM_PLUGINS", _with_plugin, always=False)
    return [*out, *({"name": name, "value": value} for name, value in fixed.items())]


def _with_plugin(old: str) -> str:
    named = [part.strip() for part in old.split(",") if part.strip()]
    return ",".join(named if names.PLUGIN_NAME in named else [*named, names.PLUGIN_NAME])


def _joined(env: list[Object], name: str, join: Any, *, always: bool) -> list[Object]:
    """Return `env` with one variable extended. A value that comes from elsewhere is first given another name,
    to be named in the extended one.
    """
    out: list[Object] = []
    found = False
    for entry in env:
        if entry["name"] != name:
            out.append(entry)
            continue
        found = True
        if "valueFrom" in entry:
            moved = f"INDEXCACHE_GIVEN_{name}"
            out += [{**entry, "name": moved}, {"name": name, "value": join(f"$({moved})")}]
        else:
            out.append({"name": name, "value": join(str(entry.get("value") or ""))})
    if always and not found:
        out.append({"name": name, "value": join("")})
    return out

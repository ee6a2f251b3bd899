"""The engines' pod template: what users say wins, what carries the plugin stays."""

from typing import Any

import pytest
from indexcache_operator import names
from indexcache_operator.api.spec import Engine, Spec
from indexcache_operator.workload.merge import TemplateError, merge
from indexcache_operator.workload.pod import pod_template
from indexcache_operator.workload.render import Owner, Runtime, render

from tests.credentials import control

OWNER = Owner(name="r", namespace="n", uid="u")
RUNTIME = Runtime(image="runtime:1")
CONTROL = control("n", "r")


def template(engine_template: dict[str, Any] | None = None, **engine: Any) -> dict[str, Any]:
    made = Engine.model_validate({"image": "i", "model": "m", "template": engine_template or {}, **engine})
    return pod_template(
        made, rollout="r", runtime_image="runtime:1", pull_policy="IfNotPresent", control=CONTROL
    )


def container(pod: dict[str, Any]) -> dict[str, Any]:
    return next(c for c in pod["spec"]["containers"] if c["name"] == "engine")


def test_an_engine_keeps_idle_connections_for_longer_than_a_gateway_does() -> None:
    assert int(env()["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"]["value"]) > 3600
    assert (
        env({"name": "VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "value": "7"})["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"]["value"]
        == "7"
    )


def env(*entries: dict[str, Any]) -> dict[str, Any]:
    pod = template({"spec": {"containers": [{"name": "engine", "env": list(entries)}]}})
    return {entry["name"]: entry for entry in container(pod)["env"]}


def test_the_init_container_brings_the_plugin() -> None:
    pod = template()
    init = pod["spec"]["initContainers"][0]
    assert (init["image"], init["args"]) == ("runtime:1", ["/opt/indexcache"])
    volume = init["volumeMounts"][0]["name"]
    assert {"name": volume, "emptyDir": {}} in pod["spec"]["volumes"]
    assert {"name": volume, "mountPath": "/opt/indexcache", "readOnly": True} in container(pod)[
        "volumeMounts"
    ]
    assert {"name": "PYTHONPATH", "value": "/opt/indexcache"} in container(pod)["env"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("dsa_cpu", "dsa_cpu,indexcache"),
        ("a, b", "a,b,indexcache"),
        ("indexcache,a", "indexcache,a"),
        ("", "indexcache"),
    ],
)
def test_a_list_of_plugins_is_extended(given: str, expected: str) -> None:
    assert env({"name": "VLLM_PLUGINS", "value": given})["VLLM_PLUGINS"]["value"] == expected


def test_no_list_of_plugins_stays_none() -> None:
    assert "VLLM_PLUGINS" not in env()


def test_a_list_from_elsewhere_is_extended_too() -> None:
    source = {"configMapKeyRef": {"name": "c", "key": "k"}}
    found = env({"name": "VLLM_PLUGINS", "valueFrom": source})
    assert found["INDEXCACHE_GIVEN_VLLM_PLUGINS"]["valueFrom"] == source
    assert found["VLLM_PLUGINS"]["value"] == "$(INDEXCACHE_GIVEN_VLLM_PLUGINS),indexcache"
    assert list(found).index("INDEXCACHE_GIVEN_VLLM_PLUGINS") < list(found).index("VLLM_PLUGINS")


def test_the_users_python_path_comes_after_the_plugin() -> None:
    assert env({"name": "PYTHONPATH", "value": "/mine"})["PYTHONPATH"]["value"] == "/opt/indexcache:/mine"


def test_the_token_cannot_be_moved_by_the_template() -> None:
    found = env({"name": "INDEXCACHE_TOKEN_FILE", "value": "/elsewhere"})
    assert found["INDEXCACHE_TOKEN_FILE"]["value"] == "/var/run/indexcache/token"
    volume = {"name": names.TOKEN_VOLUME, "secret": {"secretName": "theirs"}}
    pod = template(
        {
            "metadata": {"annotations": {names.CONTROL_ANNOTATION: "other/1", "team": "a"}},
            "spec": {"volumes": [volume]},
        }
    )
    assert pod["metadata"]["annotations"] == {names.CONTROL_ANNOTATION: str(CONTROL.binding), "team": "a"}
    (secret,) = [v["secret"] for v in pod["spec"]["volumes"] if v["name"] == names.TOKEN_VOLUME]
    assert secret["secretName"] == CONTROL.secret


def test_runs_under_the_restricted_profile() -> None:
    pod = template()["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in [*pod["containers"], *pod["initContainers"]]:
        assert each["securityContext"]["allowPrivilegeEscalation"] is False
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_template_wins_where_it_speaks() -> None:
    pod = template(
        {
            "metadata": {"labels": {"team": "a"}},
            "spec": {
                "securityContext": {"runAsUser": 0, "runAsNonRoot": False},
                "tolerations": [{"key": "gpu"}],
                "containers": [
                    {"name": "engine", "readinessProbe": {"periodSeconds": 9}},
                    {"name": "side", "image": "s"},
                ],
                "volumes": [{"name": "tmp", "emptyDir": None, "persistentVolumeClaim": {"claimName": "c"}}],
            },
        }
    )
    assert pod["spec"]["securityContext"]["runAsUser"] == 0
    assert pod["spec"]["tolerations"] == [{"key": "gpu"}]
    assert container(pod)["readinessProbe"]["periodSeconds"] == 9
    assert container(pod)["readinessProbe"]["httpGet"]["path"] == "/health"
    assert [c["name"] for c in pod["spec"]["containers"]] == ["engine", "side"]
    assert {"name": "tmp", "persistentVolumeClaim": {"claimName": "c"}} in pod["spec"]["volumes"]
    assert pod["metadata"]["labels"]["team"] == "a"
    assert pod["metadata"]["labels"][names.BASELINE_LABEL] == "true"


def test_the_port_is_given_unless_the_user_gives_one() -> None:
    assert container(template(port=9000))["args"] == ["m", "--port=9000"]
    assert container(template(port=9000, args=["--port", "9000"]))["args"] == ["m", "--port", "9000"]


def test_the_control_port_is_in_no_service() -> None:
    spec = Spec.model_validate({"engine": {"image": "i", "model": "m"}, "indexCache": {"pattern": "FS"}})
    made = render(spec, OWNER, RUNTIME, CONTROL)
    ports = {p["name"] for p in container(made.deployment["spec"]["template"])["ports"]}
    assert ports == {"http", "control"}
    assert [[p["targetPort"] for p in s["spec"]["ports"]] for s in made.services] == [["http"], ["http"]]


def test_only_the_pod_template_decides_which_pods_are_current() -> None:
    def made(**changes: Any) -> Any:
        body = {
            "engine": {"image": "i", "model": "m", **changes.pop("engine", {})},
            "indexCache": {"pattern": "FS"},
            **changes,
        }
        return render(Spec.model_validate(body), OWNER, RUNTIME, CONTROL)

    first, pattern, replicas, image = (
        made(),
        made(indexCache={"pattern": "FF"}),
        made(engine={"replicas": 3}),
        made(engine={"image": "j"}),
    )
    assert pattern.digest == first.digest
    assert (replicas.template, replicas.digest == first.digest) == (first.template, False)
    assert image.template != first.template
    selected = first.deployment["spec"]["selector"]["matchLabels"]
    assert not {names.BASELINE_LABEL, names.CANARY_LABEL, names.TEMPLATE_LABEL} & selected.keys()


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"spec": {"containers": [{"image": "x"}]}}, "without name"),
        ({"spec": {"$patch": "replace"}}, "patch directive"),
    ],
)
def test_refuses_what_it_cannot_merge(patch: dict[str, Any], words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        merge({}, patch)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ({"spec": None}, "spec: found nothing"),
        ({"spec": {"containers": None}}, "spec.containers: found nothing"),
        ({"spec": {"containers": "x"}}, "spec.containers: found 'x'; expected a list"),
        ({"spec": []}, "spec: found a list; expected a map"),
        ({"metadata": "x"}, "metadata: found 'x'; expected a map"),
        ({"metadata": {"labels": ["x"]}}, "labels: found a list; expected a map"),
        ({"spec": {"initContainers": {}}}, r"initContainers: found \{\}; expected a list"),
        ({"spec": {"volumes": 5}}, "volumes: found 5; expected a list"),
        (
            {"spec": {"containers": [{"name": "engine", "env": {"A": "b"}}]}},
            r"containers\[0\].env: found a map; expected a list",
        ),
        ({"spec": {"containers": [{"name": {}}]}}, r"containers\[0\].name: found a map; expected a text"),
    ],
)
def test_a_template_that_leaves_no_place_for_the_plugin_is_refused_by_field(
    template: dict[str, Any], said: str
) -> None:
    engine = Engine(image="i", model="m", template=template)
    with pytest.raises(TemplateError, match=f"^spec.engine.template.*{said}.*; "):
        pod_template(engine, rollout="r", runtime_image="x", pull_policy="Always", control=CONTROL)

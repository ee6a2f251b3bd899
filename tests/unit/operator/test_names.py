"""No text of a user's leads a request out of the rollout's namespace, whatever it holds and wherever it was
stored.
"""

import re
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from indexcache_operator import names
from indexcache_operator.act import labels, route
from indexcache_operator.alerts import Outcome, Receiver
from indexcache_operator.api.dns import LABEL, SUBDOMAIN, InvalidName, check
from indexcache_operator.api.spec import HttpRoute, ProbeSource
from indexcache_operator.api.status import Phase
from indexcache_operator.kube import Kube, NotFound
from indexcache_operator.model import PatchRoute, SetLabels, Sighting
from indexcache_operator.observe.hugging_face import HuggingFace
from indexcache_operator.observe.look import Observer, Sight
from indexcache_operator.plan import plan
from indexcache_operator.workload.render import Runtime
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic.exceptions import api_exception
from pydantic import ValidationError
from yarl import URL

from tests.credentials import CREDENTIALS

NAMESPACE, NAME = "serving", "chat"
OWN = re.compile(rf"/(api|apis/[a-z0-9.]+)/v[a-z0-9]+/namespaces/{NAMESPACE}/[a-z]+(/[^/]+(/[a-z]+)?)?")
HOSTILE = st.lists(
    st.sampled_from(
        [
            "..",
            ".",
            "/",
            "//",
            "%2e%2e",
            "%2f",
            "\\",
            "?",
            "#",
            "\n",
            "\0",
            "a",
            "victim",
            "httproutes",
            "é",
            "A",
            "-",
            "\ud800",
        ]
    )
).map("".join)
TEXT = st.text() | HOSTILE | st.from_regex(SUBDOMAIN.pattern, fullmatch=True)
ESCAPES = [
    "../../victim/httproutes/chat",
    "../../kube-system/secrets/x",
    "..",
    ".",
    "",
    "a/b",
    "a\n",
    "%2e%2e",
    "a?b",
    "a#b",
    "x/scale",
]


class Transport:
    """Stands where the HTTP client is: knows one rollout, and keeps the path that each request would have."""

    def __init__(self, rollout: dict[str, Any] | None = None) -> None:
        self.rollout = rollout
        self.paths: list[str] = []

    async def request(self, method: str, path: str, **params: Any) -> dict[str, Any]:
        self.paths.append(URL(f"https://api.example{path}").path)
        if self.rollout is not None and path == names.rollouts_path(NAMESPACE, NAME):
            return self.rollout
        if path.endswith("/pods"):
            return {"items": []}
        raise api_exception(ApiException(status=404, reason="Not Found"))


class Api(Kube):
    """The operator's client of the API, with another transport under it."""

    def __init__(self, transport: Transport) -> None:
        client: Any = SimpleNamespace(configuration=None)
        super().__init__(client)
        self._client = transport


def rollout(spec: dict[str, Any], status: dict[str, Any] | None = None) -> dict[str, Any]:
    metadata = {"name": NAME, "namespace": NAMESPACE, "uid": "u", "generation": 1, "resourceVersion": "1"}
    base = {"engine": {"image": "i", "model": "/m"}, "indexCache": {"pattern": "FS"}}
    return {"metadata": metadata, "spec": {**base, **spec}, "status": status or {}}


async def look(transport: Transport) -> Sighting:
    """Look once at the rollout as it is stored."""
    async with aiohttp.ClientSession() as session:
        observer = Observer(
            kube=Api(transport),
            session=session,
            runtime=Runtime(image="r"),
            credentials=CREDENTIALS,
            hugging_face=HuggingFace(session, None),
        )
        found = await observer.look(NAMESPACE, NAME, Sight())
    assert found is not None
    return found


def asking(route: str = "r", rule: str = "g", probes: str = "p") -> dict[str, Any]:
    """Return a spec with these names."""
    return {
        "traffic": {"httpRoute": {"name": route, "rule": rule}},
        "guardrails": {"quality": {"probes": {"configMap": probes}}},
    }


@given(TEXT, TEXT, TEXT, st.booleans())
@example(*ESCAPES[:2], "g", False)
@example(*ESCAPES[:2], "g", True)
async def test_whatever_is_stored_a_look_stays_in_the_namespace(
    route: str, probes: str, rule: str, changed: bool
) -> None:
    kept = (
        {"route": {"name": route, "rule": rule, "originalBackends": []}, "phase": "Canary", "revision": "r"}
        if changed
        else {}
    )
    transport = Transport(rollout(asking(route, rule, probes), kept))
    sighting = await look(transport)
    plan(sighting.observation)
    assert [path for path in transport.paths if not OWN.fullmatch(path)] == []


@pytest.mark.parametrize("wrong", ESCAPES)
@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("route", "spec.traffic.httpRoute.name"),
        ("rule", "spec.traffic.httpRoute.rule"),
        ("probes", "spec.guardrails.quality.probes.configMap"),
    ],
)
async def test_a_stored_name_that_is_none_is_a_problem_of_the_spec_by_field(
    given: str, field: str, wrong: str
) -> None:
    sighting = await look(Transport(rollout(asking(**{given: wrong}))))
    made = plan(sighting.observation)
    assert made.status.phase is Phase.FAILED
    assert f"{field}: " in made.status.message
    assert f"found {wrong!r}; expected a DNS subdomain" in made.status.message
    assert "write the object's name alone" in made.status.message


@pytest.mark.parametrize("wrong", ESCAPES)
async def test_a_route_that_was_changed_under_a_name_that_is_none_ends_the_try_and_is_named(
    wrong: str,
) -> None:
    kept = {"phase": "Canary", "revision": "r", "route": {"name": wrong, "rule": "g", "originalBackends": []}}
    sighting = await look(Transport(rollout(asking(route=wrong), kept)))
    assert sighting.route is None
    assert sighting.observation.route is not None
    assert f"status.route: found {wrong!r}" in (sighting.observation.route.problem or "")
    made = plan(sighting.observation)
    assert made.status.phase is Phase.FALLING_BACK
    assert made.status.fallback is not None
    assert made.status.fallback.cause == "InvalidSpec"


@given(TEXT)
@example("../../victim/httproutes/chat")
async def test_no_action_leads_out_of_the_namespace(name: str) -> None:
    transport = Transport()
    kube = Api(transport)
    change = PatchRoute(rule_index=0, rule="g", backends=(), resource_version="1")
    for acting in (
        route.patch(kube, NAMESPACE, name, change),
        labels.put(
            kube, NAMESPACE, SetLabels(pod=name, baseline=True, canary=False), {"resourceVersion": "1"}
        ),
        kube.get(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}"),
    ):
        with pytest.raises((InvalidName, NotFound)):
            await acting
    assert [path for path in transport.paths if not OWN.fullmatch(path)] == []


@given(TEXT, TEXT)
async def test_an_alert_can_name_no_other_path(namespace: str, name: str) -> None:
    transport = Transport()
    receiver = Receiver(kube=Api(transport), wake=lambda uid: None)
    found = {"namespace": namespace, "rollout": name, "uid": "u", "revision": "r"}
    assert await receiver.firing(found, {}) in (Outcome.UNKNOWN, Outcome.UNBOUND)
    assert all(
        path.count("/") == 7 and path.startswith("/apis/indexcache.dev/v1alpha1/namespaces/")
        for path in transport.paths
    )


@given(TEXT)
def test_spec_path_and_definition_agree_on_what_a_name_is(text: str) -> None:
    valid = (
        re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", text) is not None
        and len(text) <= 253
    )
    for use in (
        lambda: check(text, SUBDOMAIN),
        lambda: names.object_path("api/v1", "pods", "n", text),
        lambda: ProbeSource(config_map=text),
        lambda: HttpRoute(name=text, rule="g"),
        lambda: HttpRoute(name="r", rule=text),
    ):
        if valid:
            use()
        else:
            with pytest.raises((InvalidName, ValidationError), match="expected a DNS subdomain"):
                use()


@pytest.mark.parametrize(
    ("text", "fits"),
    [("a" * 63, True), ("a" * 64, False), ("a.b", False), ("", False), ("a\n", False), ("-a", False)],
)
def test_a_namespace_is_a_label(text: str, fits: bool) -> None:
    if fits:
        assert (
            names.rollouts_path(text) == f"/apis/indexcache.dev/v1alpha1/namespaces/{text}/indexcacherollouts"
        )
    else:
        with pytest.raises(InvalidName, match="expected a DNS label"):
            names.rollouts_path(text)
        with pytest.raises(InvalidName):
            check(text, LABEL)


def test_paths_of_all_kinds_in_use() -> None:
    assert names.rollouts_path() == "/apis/indexcache.dev/v1alpha1/indexcacherollouts"
    assert names.rollouts_path("n", "r", "status").endswith("/namespaces/n/indexcacherollouts/r/status")
    assert names.object_path(*names.HTTP_ROUTES, "n", "a.b").endswith("/v1/namespaces/n/httproutes/a.b")
    assert names.object_path("api/v1", "secrets", "n") == "/api/v1/namespaces/n/secrets"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/version",
        "/api/v1/../v1/secrets",
        "/api/v1//secrets",
        "/api/v1/namespaces/n/pods/a/b/c",
        "/api/v1/pods\n",
    ],
)
async def test_the_client_requests_nothing_that_is_no_path_of_objects(path: str) -> None:
    transport = Transport()
    with pytest.raises(InvalidName, match="found path"):
        await Api(transport).get(path)
    assert transport.paths == []

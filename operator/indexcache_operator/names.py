"""Names that the operator gives and looks for: labels, annotations, Services, containers. One place, as they
are a promise to users.
"""

import re
from typing import NamedTuple

from indexcache_operator.api import dns
from indexcache_operator.api.base import GROUP, PLURAL, VERSION

FIELD_MANAGER = "indexcache-operator"
FINALIZER = f"{GROUP}/rollout"

ROLLOUT_LABEL = f"{GROUP}/rollout"
"""On everything that belongs to a rollout; its value is the rollout's name."""
ENGINE_LABEL = f"{GROUP}/engine"
"""On engine pods. With ROLLOUT_LABEL the Deployment's whole selector."""
BASELINE_LABEL = f"{GROUP}/baseline"
CANARY_LABEL = f"{GROUP}/canary"
"""Which Services a pod stands behind. No Deployment selects on them, so changing them replaces no pod."""
TEMPLATE_LABEL = f"{GROUP}/template"
"""Hash of the pod template a pod was made from."""
APPLIED_ANNOTATION = f"{GROUP}/applied"
"""Hash of all that was last applied, on the Deployment."""
CONTROL_ANNOTATION = f"{GROUP}/control"
"""Of which token engines hold, on their Deployment and on pods."""

OPERATOR_HEALTHY = "OperatorHealthy"
"""The condition that says whether a rollout is looked after: a plan writes it, or a turn that fails."""

ROLLOUTS = (f"apis/{GROUP}/{VERSION}", PLURAL)
"""Where the API server has rollouts: the path of their API, and their plural."""
HTTP_ROUTES = ("apis/gateway.networking.k8s.io/v1", "httproutes")
"""Where it has HTTPRoutes."""

ENGINE_CONTAINER = "engine"
INIT_CONTAINER = "indexcache-runtime"
PLUGIN_VOLUME = "indexcache-runtime"
PLUGIN_PATH = "/opt/indexcache"
TOKEN_VOLUME = "indexcache-control"
TOKEN_PATH = "/var/run/indexcache"
TOKEN_KEY = "token"
PLUGIN_NAME = "indexcache"
"""The name of the plugin's entry points: what VLLM_PLUGINS has to name where it is set."""


_NAME = dns.SUBDOMAIN.pattern.strip("^$")
_PATH = re.compile(
    f"/(?P<api>(?:api|apis/{_NAME})/v[a-z0-9]+)(?:/namespaces/(?P<namespace>{_NAME}))?"
    f"(?:/(?P<plural>[a-z]+)(?:/(?P<name>{_NAME})(?:/(?P<subresource>[a-z]+))?)?)?"
)


class Place(NamedTuple):
    """Names what a path of the API leads to."""

    api: str
    namespace: str | None
    plural: str
    name: str | None
    subresource: str | None


def baseline_service(rollout: str) -> str:
    """Return the name of the Service that the user's route names."""
    return f"{rollout}-baseline"


def canary_service(rollout: str) -> str:
    """Return the name of the Service that takes the canary's share."""
    return f"{rollout}-canary"


def rollouts_path(namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
    """Return the API path of rollouts: of all, of a namespace, of one, of a subresource of one. Raises
    InvalidName.
    """
    return object_path(*ROLLOUTS, namespace, name, subresource)


def object_path(
    api: str, plural: str, namespace: str | None, name: str | None = None, subresource: str = ""
) -> str:
    """Return the API path of objects of a kind.

    `namespace` None: of all namespaces; `name` None: of all objects. Raises InvalidName for a namespace or a
    name that is none: the HTTP client would resolve `..`.
    """
    if namespace is not None:
        dns.check(namespace, dns.LABEL)
    if name is not None:
        dns.check(name, dns.SUBDOMAIN)
    parts = [api, *(["namespaces", namespace] if namespace is not None else []), plural, name, subresource]
    return checked_path("/" + "/".join(part for part in parts if part))


def checked_path(path: str) -> str:
    """Return the path itself, if it is one of objects: an API and its version, a namespace, a plural, a name,
    a subresource.

    Raises InvalidName.
    """
    place(path)
    return path


def place(path: str) -> Place:
    """Return what a path names. Raises InvalidName for one of anything but plain names."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise dns.InvalidName(
            f"found path {path[:512]!r}; expected /api/v1/... or /apis/GROUP/VERSION/... of plain names; "
            "make it of valid names"
        )
    return Place(**{**found.groupdict(), "plural": found["plural"] or ""})

"""Names that the operator gives and looks for: labels, annotations, Services, containers. One place, as they are a promise to users."""

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

HTTP_ROUTES = ("apis/gateway.networking.k8s.io/v1", "httproutes")
"""Where the API server has HTTPRoutes: the path of their API, and their plural."""

ENGINE_CONTAINER = "engine"
INIT_CONTAINER = "indexcache-runtime"
PLUGIN_VOLUME = "indexcache-runtime"
PLUGIN_PATH = "/opt/indexcache"
TOKEN_VOLUME = "indexcache-control"
TOKEN_PATH = "/var/run/indexcache"
TOKEN_KEY = "token"
PLUGIN_NAME = "indexcache"
"""The name of the plugin's entry points: what VLLM_PLUGINS has to name where it is set."""


def baseline_service(rollout: str) -> str:
    """The Service that the user's route names."""
    return f"{rollout}-baseline"


def canary_service(rollout: str) -> str:
    """The Service that takes the canary's share."""
    return f"{rollout}-canary"


def secret(rollout: str) -> str:
    """The Secret with the control port's token."""
    return f"{rollout}-control"


def rollouts_path(namespace: str | None = None, name: str = "", subresource: str = "") -> str:
    """The API path of rollouts: of all, of a namespace, of one, of a subresource of one."""
    return object_path(f"apis/{GROUP}/{VERSION}", PLURAL, namespace, name, subresource)


def object_path(api: str, plural: str, namespace: str | None, name: str = "", subresource: str = "") -> str:
    """The API path of objects of a kind."""
    parts = [api, *(["namespaces", namespace] if namespace else []), plural, name, subresource]
    return "/" + "/".join(part for part in parts if part)

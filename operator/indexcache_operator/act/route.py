"""The backends of the user's rule. HTTPRoute's lists are atomic, so no apply can own a weight within one: a
JSON patch replaces the rule's backends and nothing else, and only if the route is the very one that was
looked at and the rule still has its name.
"""

from typing import Any

from indexcache_operator import names
from indexcache_operator.kube import JSON, Kube
from indexcache_operator.model import PatchRoute


async def patch(kube: Kube, namespace: str, route: str, action: PatchRoute) -> None:
    """Replace the rule's backends. Raises Conflict if anybody has written the route since; KubeError."""
    rule = f"/spec/rules/{action.rule_index}"
    body: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": action.resource_version},
        {"op": "test", "path": f"{rule}/name", "value": action.rule},
        {"op": "add", "path": f"{rule}/backendRefs", "value": list(action.backends)},
    ]
    await kube.patch(names.object_path(*names.HTTP_ROUTES, namespace, route), body, kind=JSON)

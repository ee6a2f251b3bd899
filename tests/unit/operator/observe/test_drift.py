"""Tests which answers of an API server say that an object is wrong. What else drift tells is tested against
a real one, in tests/cluster.
"""

import pytest
from indexcache_operator.kube import KubeError
from indexcache_operator.observe import drift

TYPE = "failed to create typed patch object (ns/chat; apps/v1, Kind=Deployment): .spec.x: expected string"


@pytest.mark.parametrize(
    ("status", "message", "refuses"),
    [
        (422, "Deployment.apps is invalid: spec.x: Required value", True),
        (400, "strict decoding error", True),
        (500, f"PATCH /apis/apps/v1/namespaces/ns/deployments/chat: {TYPE}", True),
        (500, "etcdserver: leader changed", False),
        (503, TYPE, False),
        (403, "forbidden", False),
        (409, "conflict", False),
    ],
)
def test_an_object_is_refused_by_what_is_wrong_with_it_and_by_nothing_else(
    status: int, message: str, refuses: bool
) -> None:
    assert drift.refuses(KubeError(status, "Reason", message)) is refuses

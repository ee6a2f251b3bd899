"""A datacentre on one machine: Kubernetes, gateway and monitoring in network, process and mount namespaces of
their own.

Everything is real and built here from pinned sources: the programs written in Go come out of one module
(`testbed/go`), Envoy out of its wheel, Alertmanager out of Debian's package. Nothing is pulled from an image
registry, and nothing in the cluster can reach anything outside it: its network has no default route.

`build` fills the cache, `lifecycle` starts and ends a cluster, `addons` installs what a cluster of ours
always has. The edges (subprocesses, files) are thin; what can be wrong without a machine at hand (`configs`,
`certs`, `pins`, `keys`) is pure.
"""

from .errors import TestbedError
from .handle import Cluster

__all__ = ["Cluster", "TestbedError"]

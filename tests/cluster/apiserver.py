"""A real API server for tests: kube-apiserver and etcd on free loopback ports, nothing else.

No kubelet and no controllers run: objects are stored, defaulted, validated and fenced as anywhere, but a
Deployment makes no pods and nothing is garbage-collected. The binaries are the testbed's.
"""

import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

TOKEN = "admintoken"
USERS = ("admin", "operator-a", "operator-b")
"""Each may do everything, with a token of its own: an audit tells them apart."""
AUDIT = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, verbs: [create, update, patch, delete]}
- {level: None}
"""
START_SECONDS = 60.0


@dataclass(frozen=True)
class ApiServer:
    """Says where the server listens, and holds a kubeconfig of its administrator."""

    url: str
    kubeconfig: Path
    work: Path

    def kubeconfig_of(self, user: str) -> Path:
        """Return a kubeconfig of another user than its administrator."""
        return _kubeconfig(self.work, self.url, user)

    @property
    def audit(self) -> Path:
        """Return the log of all writes, where one is kept."""
        return self.work / "audit.jsonl"


@asynccontextmanager
async def client(kubeconfig: Path) -> AsyncIterator[ApiClient]:
    """Yield a client of an API server by a kubeconfig."""
    configuration = Configuration()
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    async with ApiClient(configuration=configuration) as found:
        yield found


def cache() -> Path:
    """Return where the testbed keeps what it builds."""
    return Path(os.environ.get("INDEXCACHE_CACHE") or "/var/cache/indexcache")


def binaries() -> Path | None:
    """Return the folder with etcd, kube-apiserver, helm and promtool, if they are built."""
    given = os.environ.get("INDEXCACHE_BIN")
    folders = (
        [Path(given)]
        if given
        else sorted(cache().glob("testbed/go-*"), key=lambda f: f.stat().st_mtime, reverse=True)
    )
    return next(
        (
            f
            for f in folders
            if all((f / name).exists() for name in ("etcd", "kube-apiserver", "helm", "promtool"))
        ),
        None,
    )


@contextmanager
def running(work: Path, bin_dir: Path, *, audited: bool = False, policy: str = AUDIT) -> Iterator[ApiServer]:
    """Run one API server with an empty store, stopped on the way out. `audited`: it logs who writes what, or
    what else the policy says.
    """
    client, peer, secure = _free_ports(3)
    (work / "tokens.csv").write_text("".join(f"{user}token,{user},{user},system:masters\n" for user in USERS))
    _key(work / "sa.key")
    etcd_url, url = f"http://127.0.0.1:{client}", f"https://127.0.0.1:{secure}"
    peer_url = f"http://127.0.0.1:{peer}"
    etcd = [
        bin_dir / "etcd",
        f"--data-dir={work / 'etcd'}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={etcd_url}",
    ]
    etcd += [
        f"--advertise-client-urls={etcd_url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
    ]
    etcd += [f"--initial-cluster=default={peer_url}"]
    api = [
        bin_dir / "kube-apiserver",
        f"--etcd-servers={etcd_url}",
        f"--secure-port={secure}",
        "--bind-address=127.0.0.1",
    ]
    api += [f"--cert-dir={work / 'pki'}", f"--service-account-key-file={work / 'sa.key'}"]
    api += [
        f"--service-account-signing-key-file={work / 'sa.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
    ]
    api += [
        "--service-cluster-ip-range=10.97.0.0/16",
        f"--token-auth-file={work / 'tokens.csv'}",
        "--authorization-mode=RBAC",
    ]
    api += [
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
        "--advertise-address=127.0.0.1",
    ]
    if audited:
        (work / "audit.yaml").write_text(policy)
        api += [f"--audit-policy-file={work / 'audit.yaml'}", f"--audit-log-path={work / 'audit.jsonl'}"]
    with ExitStack() as stack:
        stack.enter_context(_process([str(a) for a in etcd], work / "etcd.log"))
        server = stack.enter_context(_process([str(a) for a in api], work / "kube-apiserver.log"))
        _wait_ready(url, server, work / "kube-apiserver.log")
        yield ApiServer(url=url, kubeconfig=_kubeconfig(work, url, "admin"), work=work)


@contextmanager
def _process(command: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_ready(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(f"{url}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
    deadline = time.monotonic() + START_SECONDS
    last = "no answer"
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(request, context=context, timeout=2) as answer:
                if answer.read() == b"ok":
                    return
        except (urllib.error.URLError, OSError) as error:
            last = str(error)
        time.sleep(0.05)
    raise RuntimeError(f"kube-apiserver: not ready ({last}); its log ends:\n{log.read_text()[-2000:]}")


def _key(path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        raise RuntimeError("openssl: not found; install it (Debian: apt-get install openssl)")
    subprocess.run([openssl, "genrsa", "-out", str(path), "2048"], check=True, capture_output=True)


def _kubeconfig(work: Path, url: str, user: str) -> Path:
    path = work / f"kubeconfig-{user}"
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        f'clusters: [{{name: c, cluster: {{server: "{url}", insecure-skip-tls-verify: true}}}}]\n'
        f"users: [{{name: u, user: {{token: {user}token}}}}]\ncontexts: "
        f"[{{name: c, context: {{cluster: c, user: u}}}}]\n"
    )
    return path


def _free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()

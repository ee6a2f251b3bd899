"""The operator's settings, from its environment. Everything about a rollout is in the rollout."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from indexcache_operator.api import dns
from indexcache_operator.workload.render import Runtime


class SettingsError(ValueError):
    """An environment that the operator can't work in; the message names the variable."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Says how this operator is set up."""

    runtime: Runtime
    """INDEXCACHE_RUNTIME_IMAGE, INDEXCACHE_RUNTIME_PULL_POLICY: the image whose init container brings the
    plugin into engines.
    """
    control_keys: Path
    """INDEXCACHE_CONTROL_KEYS: the folder of the keys that control tokens are derived from."""
    control_keys_secret: tuple[str, str] | None = None
    """INDEXCACHE_CONTROL_KEYS_SECRET, as NAMESPACE/NAME: the Secret that is mounted there, to be made if it
    isn't there. None: somebody else makes it.
    """
    namespaces: tuple[str, ...] = ()
    """INDEXCACHE_NAMESPACES, comma-separated: watched ones; none means all."""
    port: int = 9443
    """INDEXCACHE_WEBHOOK_PORT: alerts, metrics, health."""
    token_file: Path | None = None
    """INDEXCACHE_WEBHOOK_TOKEN_FILE: the bearer token that Alertmanager sends. Without one no alert is
    accepted.
    """
    tls: tuple[Path, Path] | None = None
    """INDEXCACHE_TLS_CERT_FILE and INDEXCACHE_TLS_KEY_FILE: serve https."""
    hub: str | None = None
    """HF_ENDPOINT: where a model's config.json is read before a pod exists. None: it isn't."""
    lease: tuple[str, str] | None = None
    """INDEXCACHE_LEASE, as NAMESPACE/NAME: the Lease by which one of several operators leads. None: there is
    no other, and this one leads.
    """
    identity: str = ""
    """INDEXCACHE_IDENTITY: under which it holds the Lease, no two at once the same; default: the host's name.
    """
    log_level: str = "INFO"
    """INDEXCACHE_LOG_LEVEL."""

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings from the environment. Raises SettingsError."""
        image = _required(environ, "INDEXCACHE_RUNTIME_IMAGE", "the image that carries the engines' plugin")
        keys = _required(environ, "INDEXCACHE_CONTROL_KEYS", "the folder of the control keys")
        port = environ.get("INDEXCACHE_WEBHOOK_PORT", "9443")
        if not port.isdecimal() or not 0 <= int(port) <= 65535:
            raise SettingsError(
                f"INDEXCACHE_WEBHOOK_PORT: found {port!r}; expected a port's number; correct it"
            )
        token, cert, key = (
            environ.get(f"INDEXCACHE_{name}_FILE") for name in ("WEBHOOK_TOKEN", "TLS_CERT", "TLS_KEY")
        )
        if bool(cert) is not bool(key):
            raise SettingsError(
                "INDEXCACHE_TLS_CERT_FILE, INDEXCACHE_TLS_KEY_FILE: found one of them; expected both or "
                "none; set the other"
            )
        namespaces = tuple(
            n.strip() for n in environ.get("INDEXCACHE_NAMESPACES", "").split(",") if n.strip()
        )
        try:
            for namespace in namespaces:
                dns.check(namespace, dns.LABEL)
        except dns.InvalidName as error:
            raise SettingsError(f"INDEXCACHE_NAMESPACES: {error}") from None
        return cls(
            runtime=Runtime(
                image=image, pull_policy=environ.get("INDEXCACHE_RUNTIME_PULL_POLICY") or "IfNotPresent"
            ),
            control_keys=Path(keys),
            control_keys_secret=_object_name(environ, "INDEXCACHE_CONTROL_KEYS_SECRET"),
            namespaces=namespaces,
            port=int(port),
            token_file=Path(token) if token else None,
            tls=(Path(cert), Path(key)) if cert and key else None,
            hub=environ.get("HF_ENDPOINT") or None,
            lease=_object_name(environ, "INDEXCACHE_LEASE"),
            identity=environ.get("INDEXCACHE_IDENTITY") or socket.gethostname(),
            log_level=environ.get("INDEXCACHE_LOG_LEVEL") or "INFO",
        )

    def token(self) -> str:
        """Return the webhook's token as it stands now; empty if there is none."""
        return self.token_file.read_text().strip() if self.token_file else ""


def _required(environ: Mapping[str, str], variable: str, what: str) -> str:
    """Return the value of a variable. Raises SettingsError if it isn't set."""
    found = environ.get(variable, "")
    if not found:
        raise SettingsError(f"{variable}: not set; expected {what}; set it")
    return found


def _object_name(environ: Mapping[str, str], variable: str) -> tuple[str, str] | None:
    """Return namespace and name of an object that a variable names, if it is set. Raises SettingsError."""
    found = environ.get(variable, "")
    if not found:
        return None
    namespace, _, name = found.partition("/")
    try:
        return dns.check(namespace, dns.LABEL), dns.check(name, dns.SUBDOMAIN)
    except dns.InvalidName as error:
        raise SettingsError(f"{variable}: {error}; expected NAMESPACE/NAME") from None

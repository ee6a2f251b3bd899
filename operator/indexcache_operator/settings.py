"""The operator's settings, from its environment. Everything about a rollout is in the rollout."""

import os
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
    log_level: str = "INFO"
    """INDEXCACHE_LOG_LEVEL."""

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings from the environment. Raises SettingsError."""
        image = environ.get("INDEXCACHE_RUNTIME_IMAGE", "")
        if not image:
            raise SettingsError(
                "INDEXCACHE_RUNTIME_IMAGE: not set; expected the image that carries the engines' plugin; set "
                "it"
            )
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
            namespaces=namespaces,
            port=int(port),
            token_file=Path(token) if token else None,
            tls=(Path(cert), Path(key)) if cert and key else None,
            hub=environ.get("HF_ENDPOINT") or None,
            log_level=environ.get("INDEXCACHE_LOG_LEVEL") or "INFO",
        )

    def token(self) -> str:
        """Return the webhook's token as it stands now; empty if there is none."""
        return self.token_file.read_text().strip() if self.token_file else ""

"""The control tokens of all engines, each derived from one key of the operator's: none is read from anywhere.

A token belongs to a rollout's namespace, name and uid, and to a key. Uid and key are the *binding* of the
engines that hold it. It is chosen when their Deployment is made and written on it and on its pods, so it
outlives the rollout and the choice of another key: engines that are retained stay as they are.

Invariant: whoever writes a binding chooses only among the tokens of the rollout's own namespace and name,
since these go into each token and come from no annotation. Pure, but for the keys, which follow their files.
"""

import base64
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Keys = Mapping[str, bytes]
"""The operator's keys by their ids. The last by name is the newest."""

KEY_ID = "[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
_BINDING = re.compile(f"(?P<uid>[a-zA-Z0-9-]{{1,63}})/(?P<key_id>{KEY_ID})")
_TOKEN, _SECRET = b"indexcache-control/v1", b"indexcache-control-secret/v1"
DIGITS = 10
"""Hex digits that a Secret's name ends in."""


class UnknownKey(Exception):
    """A key that the operator doesn't have, or no longer; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Binding:
    """Names the token of one Deployment's engines."""

    uid: str
    """Of the rollout that the Deployment was first made for."""
    key_id: str

    def __str__(self) -> str:
        return f"{self.uid}/{self.key_id}"

    @classmethod
    def parse(cls, text: object) -> "Binding | None":
        """Return the binding that an annotation holds; None if it holds none."""
        found = _BINDING.fullmatch(text) if isinstance(text, str) else None
        return cls(uid=found["uid"], key_id=found["key_id"]) if found else None


@dataclass(frozen=True, kw_only=True)
class Control:
    """Holds what guards the control ports of one Deployment's engines."""

    binding: Binding
    secret: str
    """The name of the Secret that brings the token to them."""
    token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Derives control tokens."""

    keys: Callable[[], Keys]
    """All that the operator has now."""

    def of(self, namespace: str, name: str, binding: Binding) -> Control:
        """Return what guards the engines of this rollout that were bound so. Raises UnknownKey."""
        key = self.keys().get(binding.key_id)
        if key is None:
            raise UnknownKey(
                f"found engines bound to control key {binding.key_id}; expected one of the operator's, which "
                f"are {', '.join(sorted(self.keys())) or 'none'}; put that key back, or bind the engines anew"
            )
        about = (namespace, name, binding.uid)
        token = base64.urlsafe_b64encode(_derived(key, _TOKEN, about)).decode().rstrip("=")
        secret = f"{name}-control-{_derived(key, _SECRET, about).hex()[:DIGITS]}"
        return Control(binding=binding, secret=secret, token=token)

    def new(self, uid: str) -> Binding:
        """Return how engines of this rollout are bound that aren't yet. Raises UnknownKey."""
        keys = self.keys()
        if not keys:
            raise UnknownKey("found no control key; expected one of the operator's; give it one")
        return Binding(uid=uid, key_id=max(keys))


def _derived(key: bytes, purpose: bytes, about: tuple[str, ...]) -> bytes:
    """Return 32 bytes for one purpose. No part of the message can hold the NUL between them."""
    return hmac.digest(key, b"\0".join([purpose, *(part.encode() for part in about)]), "sha256")

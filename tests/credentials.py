"""Control tokens for tests, by a key that everybody may know."""

from indexcache_operator.credentials import Binding, Control, Credentials

CREDENTIALS = Credentials(keys=lambda: {"1": b"k" * 32})


def control(namespace: str, name: str, uid: str = "u") -> Control:
    """Return what guards the engines that were bound under this uid."""
    return CREDENTIALS.of(namespace, name, Binding(uid=uid, key_id="1"))

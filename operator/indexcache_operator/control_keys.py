"""The operator's control keys: a folder of files, one a key, whose names are the keys' ids.

It is a mounted Secret. The operator makes that Secret itself when there is none, so that no tool that renders
the chart can change it: a lost key is the end of control over the engines that are bound to it. What is wrong
with a file takes no key away that was read before.
"""

import asyncio
import logging
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from indexcache_operator import names
from indexcache_operator.credentials import KEY_ID, Keys
from indexcache_operator.kube import Conflict, Kube, KubeError

logger = logging.getLogger(__name__)

SHORTEST, LONGEST = 32, 4096
"""Characters of a key, bytes of its file."""
WAIT_SECONDS = 60.0
"""How long to wait at the start for a Secret that is there and not mounted yet."""
FOLLOW_SECONDS = 5.0


class NoKey(Exception):
    """There is no key, and none can be made; the message says what to do."""


class ControlKeys:
    """Holds the keys as their files have them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: Keys = {}
        self._mounted = False
        self._told: tuple[str, ...] = ()

    def current(self) -> Keys:
        """Return all keys by their ids. Reads no file."""
        return self._keys

    @property
    def lost(self) -> bool:
        """Return whether there were files and are none any more."""
        return self._mounted and not self._files()

    def take(self, keys: Keys) -> None:
        """Use these until there are files."""
        self._keys = dict(keys)

    def refresh(self) -> None:
        """Read the files. Never raises: what is wrong is logged once."""
        found: dict[str, bytes] = {}
        problems = []
        files = self._files()
        for file in files:
            known = self._keys.get(file.name)
            try:
                key: bytes | None = _read(file)
            except ValueError as error:
                problems.append(f"{error}; this key is {'as it was before' if known else 'not used'}")
                key = known
            if known is not None and key != known:
                problems.append(
                    f"{file}: holds another key than before, of which engines have no token; the one before "
                    "is used until the operator restarts; put it back, or give the new one a newer name"
                )
                key = known
            if key is not None:
                found[file.name] = key
        if found:
            self._keys, self._mounted = found, True
        elif self._mounted:
            problems.append(f"{self._folder}: holds no key any more; those read before are used on")
        for problem in problems:
            if problem not in self._told:
                logger.error("%s", problem)
        self._told = tuple(problems)

    def _files(self) -> list[Path]:
        """Return the files of keys, in order of their names. What begins with a dot is the kubelet's."""
        try:
            return sorted(path for path in self._folder.iterdir() if not path.name.startswith("."))
        except OSError:
            return []


def _read(file: Path) -> bytes:
    """Return the key in a file, without blanks around it. Raises ValueError."""
    if re.fullmatch(KEY_ID, file.name) is None:
        raise ValueError(f"{file}: found a name that is no key's id; expected letters, digits, -, _ and .")
    try:
        with file.open("rb") as opened:
            raw = opened.read(LONGEST + 1)
        text = raw.decode().strip()
    except OSError as error:
        raise ValueError(f"{file}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{file}: found bytes that are not UTF-8 (at {error.start}); expected text, such as "
            "`openssl rand -base64 32` makes"
        ) from error
    if len(raw) > LONGEST or len(text) < SHORTEST:
        raise ValueError(
            f"{file}: found {len(raw)} bytes, {len(text)} characters without blanks around them; expected "
            f"{SHORTEST} to {LONGEST}, such as `openssl rand -base64 32` makes"
        )
    return text.encode()


async def opened(kube: Kube, folder: Path, secret: tuple[str, str] | None) -> ControlKeys:
    """Return the keys in a folder. `secret`: namespace and name of what is mounted there, which is made if
    the folder holds none; None: somebody else makes it.

    Raises NoKey.
    """
    keys = ControlKeys(folder)
    keys.refresh()
    if keys.current():
        return keys
    if secret is None:
        raise NoKey(
            f"{folder}: found no control key; expected a file with at least {SHORTEST} characters, named by "
            "date; put one into the Secret that is mounted there"
        )
    made = {datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"): secrets.token_urlsafe(32).encode()}
    if await create(kube, secret, made):
        logger.warning("made Secret %s/%s with a new control key; keep a copy of it", *secret)
        keys.take(made)
        return keys
    for _ in range(int(WAIT_SECONDS)):
        await asyncio.sleep(1.0)
        keys.refresh()
        if keys.current():
            return keys
    raise NoKey(
        f"{folder}: found no control key after {WAIT_SECONDS:g} s, though Secret {'/'.join(secret)} is "
        "there; expected a key in it; restore the Secret, or delete it if no engine is bound to a key of it"
    )


async def follow(kube: Kube, keys: ControlKeys, secret: tuple[str, str] | None) -> None:
    """Read the files anew for ever, and make the Secret again, with the keys that it had, if it is lost."""
    while True:
        await asyncio.sleep(FOLLOW_SECONDS)
        keys.refresh()
        if secret is not None and keys.lost:
            try:
                if await create(kube, secret, keys.current()):
                    logger.warning("made Secret %s/%s again, with the control keys that it had", *secret)
            except NoKey as error:
                logger.error("%s", error)


async def create(kube: Kube, secret: tuple[str, str], keys: Keys) -> bool:
    """Make the Secret with these keys. Return whether it was made: False if there is one. Raises NoKey."""
    namespace, name = secret
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": names.FIELD_MANAGER}},
        "type": "Opaque",
        "stringData": {key_id: key.decode() for key_id, key in keys.items()},
    }
    try:
        await kube.create(names.object_path("api/v1", "secrets", namespace), body)
    except Conflict as error:
        if error.reason == "AlreadyExists":
            return False
        raise NoKey(f"Secret {namespace}/{name} with the control keys can't be made: {error}") from error
    except (KubeError, aiohttp.ClientError, TimeoutError, OSError) as error:
        raise NoKey(f"Secret {namespace}/{name} with the control keys can't be made: {error}") from error
    return True

"""The one place where the testbed starts other programs and reads what they say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import CommandError


def with_private_mounts(argv: Sequence[str | Path]) -> list[str]:
    """Return a command line that runs `argv` in a mount namespace of its own: what it mounts is seen by
    nobody and gone with it.
    """
    return ["unshare", "--mount", "--propagation", "private", *map(str, argv)]


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 600,
) -> str:
    """Run a command to its end and return its standard output.

    Args:
        argv: the command; no shell is involved.
        stdin: text for its standard input; None gives it an empty one.
        env: variables added to this process's own.
        cwd: where it runs.
        timeout: seconds after which it is killed.

    Raises:
        CommandError: it ended with a status other than 0, or ran out of time.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=stdin or "",
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=timeout,
            text=True,
            capture_output=True,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        said = b"".join(part for part in (expired.stdout, expired.stderr) if isinstance(part, bytes))
        raise CommandError(words, None, said.decode(errors="replace")) from expired
    if done.returncode:
        raise CommandError(words, done.returncode, done.stdout + done.stderr)
    return done.stdout

"""A command, run to its end or to a deadline."""

import asyncio


class CommandError(RuntimeError):
    """A command ended with an error, or did not end in time; the text is its own."""


async def run(*command: str, stdin: str = "", within: float = 120) -> str:
    """Run a command; its output. One that takes longer, or whose caller is cancelled, is killed. CommandError
    with what it said.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        # Not wait_for: before Python 3.12 it loses a cancellation that comes as the command ends.
        async with asyncio.timeout(within):
            out, err = await process.communicate(stdin.encode())
    except TimeoutError:
        raise CommandError(f"{' '.join(command)}: no end in {within:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise CommandError(f"{' '.join(command)}: {err.decode().strip()}")
    return out.decode()

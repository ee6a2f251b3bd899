"""Defines what goes wrong in the testbed and is the user's to read: one line that says what was found and
what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class TestbedError(Exception):
    """A condition that the user can understand and act on. The command line prints its text and no
    traceback.
    """

    __test__ = False  # the name begins with Test; it is no test


class CommandError(TestbedError):
    """A command ended with a status other than 0, or ran out of time.

    Attributes:
        argv: the command.
        status: its exit status; None when it ran out of time.
        output: what it wrote to standard output and standard error, in this order. The text has its last
            lines, and kubectl, for one, tells of a hundred things that went well on the one and of the one
            that did not on the other.
    """

    def __init__(self, argv: Sequence[str], status: int | None, output: str) -> None:
        self.argv, self.status, self.output = list(argv), status, output
        tail = "\n".join(output.strip().splitlines()[-15:])
        ending = "ran out of time" if status is None else f"ended with status {status}"
        super().__init__(f"{' '.join(self.argv)[:300]}: {ending}\n{tail}".rstrip())

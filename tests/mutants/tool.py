"""mutmut, told to leave messages alone: a literal with a space is for people and decides nothing."""

from collections.abc import Iterable, Sequence
from typing import Any

import libcst as cst
from mutmut.__main__ import cli
from mutmut.mutation import file_mutation, mutators


def names(node: cst.BaseString) -> Iterable[cst.BaseString]:
    """Yield mutants of a literal that is a name: a key, a reason, a value."""
    if not (isinstance(node, cst.SimpleString) and " " in str(node.evaluated_value)):
        yield from mutators.operator_string(node)


def main() -> None:
    """Run mutmut's command line."""
    operators: Sequence[tuple[type, Any]] = mutators.mutation_operators
    changed = [
        (kind, names if operator is mutators.operator_string else operator) for kind, operator in operators
    ]
    if changed == list(operators):
        raise RuntimeError(
            "mutmut.mutation.mutators: no operator_string among its operators; "
            "look up what this version of mutmut calls it"
        )
    vars(file_mutation)["mutation_operators"] = changed
    cli()


if __name__ == "__main__":
    main()

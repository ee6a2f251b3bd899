"""Says what is mutated, and which tests must notice: each module's own, so that a run takes minutes, not
days."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "core/indexcache_core",
    "kernels/indexcache_kernels",
    "operator/indexcache_operator",
    "runtime/indexcache_runtime",
)


@dataclass(frozen=True)
class Target:
    """A module that is mutated."""

    module: str
    """Its path below the folder of its package, as imports see it."""
    tests: tuple[str, ...]
    """The file with its name, and those that go on with it: test_blocks.py and test_blocks_flips.py."""

    @property
    def name(self) -> str:
        """Return the module's name, as imports have it."""
        return self.module.removesuffix(".py").replace("/", ".")


def targets() -> list[Target]:
    """Return all modules that are mutated. A new module of a folder that is mutated comes by itself."""
    found = []
    for package, folder, tests in (
        ("operator", "indexcache_operator/plan", "tests/unit/operator/plan"),
        ("core", "indexcache_core/evidence", "tests/unit/core"),
    ):
        for path in sorted((ROOT / package / folder).rglob("*.py")):
            if path.name != "__init__.py":
                found.append(Target(str(path.relative_to(ROOT / package)), tests_of(path.stem, ROOT / tests)))
    for module in (
        "control/switch",
        "measuring/breaker",
        "measuring/measurements",
        "vllm/engine_core/blocks",
        "vllm/engine_core/step_planner",
    ):
        room, _, name = module.rpartition("/")
        tests_of_it = tests_of(name, ROOT / "tests/unit/runtime" / room)
        found.append(Target(f"indexcache_runtime/{module}.py", tests_of_it))
    return found


def tests_of(name: str, folder: Path) -> tuple[str, ...]:
    """Return the files with a module's own tests. Raises ValueError where not just one has its name."""
    (its_own,) = folder.rglob(f"test_{name}.py")
    files = (its_own, *sorted(its_own.parent.glob(f"test_{name}_*.py")))
    return tuple(str(file.relative_to(ROOT)) for file in files)

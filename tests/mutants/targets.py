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


FOLDERS = (
    ("operator", "indexcache_operator/plan", "tests/unit/operator/plan"),
    ("core", "indexcache_core/evidence", "tests/unit/core"),
    ("runtime", "indexcache_runtime/measuring", "tests/unit/runtime/measuring"),
)
"""All modules of these are mutated, by package and folder, and the folder of their tests."""
MODULES = (
    ("indexcache_operator", "believing"),
    ("indexcache_operator", "leading/decide"),
    ("indexcache_operator", "leading/record"),
    ("indexcache_operator", "mandate"),
    ("indexcache_runtime", "control/breaker_control"),
    ("indexcache_runtime", "control/engine_control"),
    ("indexcache_runtime", "control/ledger"),
    ("indexcache_runtime", "control/pace"),
    ("indexcache_runtime", "control/probe_log"),
    ("indexcache_runtime", "control/switch"),
    ("indexcache_runtime", "vllm/engine_core/blocks"),
    ("indexcache_runtime", "vllm/engine_core/hasher"),
    ("indexcache_runtime", "vllm/engine_core/probe_requests"),
    ("indexcache_runtime", "vllm/engine_core/reach"),
    ("indexcache_runtime", "vllm/engine_core/step_planner"),
)
"""Other modules that decide; their tests lie as they do. The elector isn't among them: it only calls, and its
tests run on the real clock, ten seconds for each mutant."""


def targets() -> list[Target]:
    """Return all modules that are mutated. A new module of a folder that is mutated comes by itself."""
    found = []
    for package, folder, tests in FOLDERS:
        for path in sorted((ROOT / package / folder).rglob("*.py")):
            if path.name != "__init__.py":
                found.append(Target(str(path.relative_to(ROOT / package)), tests_of(path.stem, ROOT / tests)))
    for package, module in MODULES:
        room, _, name = module.rpartition("/")
        folder = f"tests/unit/{package.removeprefix('indexcache_')}/{room}"
        found.append(Target(f"{package}/{module}.py", tests_of(name, ROOT / folder)))
    return found


def tests_of(name: str, folder: Path) -> tuple[str, ...]:
    """Return the files with a module's own tests. Raises ValueError where not just one has its name."""
    (its_own,) = folder.rglob(f"test_{name}.py")
    files = (its_own, *sorted(its_own.parent.glob(f"test_{name}_*.py")))
    return tuple(str(file.relative_to(ROOT)) for file in files)

"""The table of docs/compatibility.md that says what is refused, made of core's (refusals.py, supported.py,
compat.py).
"""

from pathlib import Path

from indexcache_core.compat import NATIVE_SHARING
from indexcache_core.refusals import REFUSALS, RefusedFeature, Setting
from indexcache_core.supported import OLDEST, PLATFORMS, VERSIONS, named

from scripts.generate.pages import DOCS, filled

PAGE = DOCS / "compatibility.md"
SOURCE = "core/indexcache_core/refusals.py"
SHOWN = {"cpu": "CPU", "cuda": "CUDA"}


def render() -> dict[Path, str]:
    """Return the page and its text. Raises ValueError if the page has no place for the table."""
    return {PAGE: filled(PAGE, SOURCE, table())}


def table() -> str:
    """Return the table, one row a feature."""
    head = ["feature", "setting", *(SHOWN[platform] for platform in PLATFORMS), "why"]
    sharing = ", ".join(f"`{field}`" for field in NATIVE_SHARING)
    everywhere = ["refused"] * len(PLATFORMS)
    rows = [
        *(_row(refusal) for refusal in REFUSALS),
        [
            "a model that shares natively",
            sharing,
            *everywhere,
            "its Shared layers have no indexer: nothing could be measured or turned back",
        ],
        [
            "other versions of vLLM, other platforms",
            "",
            *everywhere,
            f"the runtime leans on what was read in {_versions()}",
        ],
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def _row(refusal: RefusedFeature) -> list[str]:
    settings = ", ".join(_setting(setting) for setting in refusal.settings)
    shown = f" (`{refusal.shown_by}`)" if refusal.shown_by else ""
    return [
        refusal.feature,
        settings,
        *(_cell(refusal, platform) for platform in PLATFORMS),
        refusal.why + shown,
    ]


def _setting(setting: Setting) -> str:
    return f"`{setting.name}`" + (f" (from vLLM {named(setting.since)})" if setting.since > OLDEST else "")


def _cell(refusal: RefusedFeature, platform: str) -> str:
    return ("refused" if platform in refusal.platforms else "") + refusal.notes.get(platform, "")


def _versions() -> str:
    by_platform = (
        f"{' and '.join(named(s) for s in series)} on {SHOWN[p]}" for p, series in VERSIONS.items()
    )
    return "vLLM " + ", ".join(by_platform)

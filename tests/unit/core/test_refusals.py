"""The table of what is refused: complete in itself, and each reason in words."""

import pytest
from indexcache_core.refusals import REFUSALS, RUST_FRONTEND, RefusedFeature, Setting
from indexcache_core.supported import OLDEST, PLATFORMS

SETTINGS = [setting for refusal in REFUSALS for setting in refusal.settings]


def test_no_spelling_stands_twice() -> None:
    spelled = [name for setting in SETTINGS for name in (setting.name, *setting.short)]
    assert len(spelled) == len(set(spelled))
    configs = [setting.config for setting in SETTINGS if setting.config]
    assert len(configs) == len(set(configs))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_names_are_spelled_as_they_are_read(setting: Setting) -> None:
    assert setting.is_argument is (setting.name != RUST_FRONTEND)
    assert "_" not in setting.name.partition(".")[0] or not setting.is_argument
    assert setting.since >= OLDEST


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.feature)
def test_each_is_refused_somewhere_for_a_reason(refusal: RefusedFeature) -> None:
    assert refusal.settings
    assert refusal.why
    assert set(refusal.platforms) <= set(PLATFORMS)
    assert set(refusal.notes) <= set(PLATFORMS)
    assert refusal.platforms == PLATFORMS or all(
        p in refusal.notes for p in PLATFORMS
    )  # the page says what is so elsewhere


@pytest.mark.parametrize(
    ("setting", "value", "spelled", "expected"),
    [
        (
            Setting(name="--ubatch-size", allowed=("0", "1")),
            "2",
            "",
            "--ubatch-size: found 2; expected 0 or 1, because it harms; remove it",
        ),
        (
            Setting(name="--enable-dbo"),
            None,
            "",
            "--enable-dbo: found set; expected unset, because it harms; remove it",
        ),
        (
            Setting(name="--nnodes", allowed=("1",)),
            "2",
            "-n",
            "-n: found 2; expected 1, because it harms; remove it",
        ),
    ],
)
def test_a_reason_says_what_was_found_and_expected_and_what_to_do(
    setting: Setting, value: str | None, spelled: str, expected: str
) -> None:
    assert setting.reason("it harms", value, spelled) == expected

"""The suite: a class of tests, beside which a platform's module puts a fixture `launched`, its engine as
`launch` left it.

@pytest.fixture(scope="module")
def launched(tmp_path_factory): return launch(MyBinding(), tmp_path_factory.mktemp("model") / "model")

class TestMyPlatform(Conformance): ...
"""

from collections.abc import Iterator
from typing import Any

import pytest
from indexcache_core.contract import Mode
from indexcache_runtime.vllm.engine_core.blocks import BlockNamer
from indexcache_runtime.vllm.engine_core.reach import Reach

from tests.conformance import checks, reach_checks
from tests.conformance.engine import Engine


class Conformance:
    """An adapter that passes does what the modes say, and nothing else."""

    @pytest.fixture
    def engine(self, launched: Engine) -> Iterator[Engine]:
        """Yield the engine at the baseline, with nothing cached."""
        launched.reset()
        yield launched
        assert not launched.llm.llm_engine.has_unfinished_requests()

    def test_off_equals_unpatched(self, engine: Engine) -> None:
        checks.off_equals_unpatched(engine)

    def test_shadow_changes_nothing(self, engine: Engine) -> None:
        checks.shadow_changes_nothing(engine)

    def test_a_probe_in_shadow_follows_and_its_neighbours_do_not(self, engine: Engine) -> None:
        checks.probes_in_shadow_follow(engine)

    @pytest.mark.parametrize("which", range(3), ids=["alternating", "half", "all but one"])
    def test_shared_reads_exactly_its_leaders_set(self, engine: Engine, which: int) -> None:
        checks.shared_reads_its_leaders_set(engine, checks.patterns(engine)[which])

    def test_a_short_extension_of_a_cached_context_follows_its_leader(self, engine: Engine) -> None:
        checks.short_extensions_follow(engine)

    def test_full_to_scratch_changes_no_token(self, engine: Engine) -> None:
        checks.measuring_changes_nothing(engine)

    def test_keys_stay_warm(self, engine: Engine) -> None:
        checks.keys_stay_warm(engine)

    def test_keys_stay_warm_in_decode(self, engine: Engine) -> None:
        checks.keys_stay_warm_in_decode(engine)

    def test_a_build_that_skips_the_key_write_fails(self, engine: Engine) -> None:
        with engine.skipped_key_writes(), pytest.raises(AssertionError, match="other sets at site"):
            checks.keys_stay_warm(engine)

    @pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.ON])
    def test_measurements_are_of_what_was_read(self, engine: Engine, mode: Mode) -> None:
        checks.measurements_are_of_what_was_read(engine, mode)

    def test_contexts_up_to_k(self, engine: Engine) -> None:
        checks.contexts_up_to_k(engine)

    def test_several_requests_at_once(self, engine: Engine) -> None:
        checks.several_at_once_as_alone(engine)

    def test_preemption(self, engine: Engine) -> None:
        checks.preempted_as_not(engine)

    def test_the_prefix_cache_under_reuse(self, engine: Engine) -> None:
        checks.reuse_is_cached_for_reuse(engine)

    def test_the_prefix_cache_after_reuse(self, engine: Engine) -> None:
        checks.reuse_is_never_served_to_the_baseline(engine)

    def test_beyond_the_reach_of_reuse(self, engine: Engine) -> None:
        reach_checks.beyond_the_reach_as_at_the_baseline(engine)

    def test_a_build_that_knows_no_reach_fails(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Reach, "_exceeds", lambda reach, request: False)
        with pytest.raises(AssertionError, match="other log-probability"):
            reach_checks.beyond_the_reach_as_at_the_baseline(engine)

    def test_a_build_without_the_salt_fails(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_enter(blocks: Any, behaviour: str | None, probes: str | None = None) -> int:
            return 0

        monkeypatch.setattr(BlockNamer, "enter", no_enter)
        with pytest.raises(AssertionError, match="other log-probability"):
            checks.reuse_is_never_served_to_the_baseline(engine)

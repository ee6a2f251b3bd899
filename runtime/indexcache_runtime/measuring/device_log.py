"""Adds up what workers tell of their device: where the time of prefill steps went, and what switching holds.
Pure, not thread-safe."""

from dataclasses import dataclass, field

from indexcache_core.contract import DeviceUse, FastIndexer, StepTime

from indexcache_runtime.engine import Measured


@dataclass
class DeviceLog:
    """Adds up one engine's times of the steps that were timed, all Full and with reuse apart."""

    use: DeviceUse = field(default_factory=DeviceUse)
    """As last told."""
    fast_indexer: FastIndexer = field(default_factory=FastIndexer)
    _sums: dict[bool, StepTime] = field(default_factory=lambda: {False: StepTime(), True: StepTime()})

    def add(self, measured: Measured, *, reuse: bool) -> None:
        """Take up what a step told."""
        if measured.device is not None:
            self.use = measured.device
        if measured.agreement:
            before_least = self.fast_indexer.least_agreement
            least = min(measured.agreement)
            self.fast_indexer = FastIndexer(
                rows=self.fast_indexer.rows + len(measured.agreement),
                least_agreement=least if before_least is None else min(least, before_least),
            )
        if (parts := measured.parts) is not None:
            before = self._sums[reuse]
            self._sums[reuse] = StepTime(
                steps=before.steps + 1,
                indexer_seconds=before.indexer_seconds + parts.indexer,
                attention_seconds=before.attention_seconds + parts.attention,
                rest_seconds=before.rest_seconds + parts.rest,
            )

    def times(self, *, reuse: bool) -> StepTime:
        """Return where the time of the timed steps went, as the state has it: with reuse, or all Full."""
        return self._sums[reuse]

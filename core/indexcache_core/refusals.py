"""Features of vLLM that do not go with reuse: by which settings each is asked for, why it is refused, and
where.

The one table behind three readers. The operator reads an engine's arguments by it before a pod exists
(compat.py), the engine its own configuration when it loads (indexcache_runtime/vllm/engine_core/refusals.py),
and docs/compatibility.md shows it to people (scripts/generate/compatibility.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from indexcache_core.supported import ATTENTION_BACKENDS, CACHE_TYPES, EXECUTORS, OLDEST, PLATFORMS, Series


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting that asks for a feature: an argument of the server, or a variable of its environment."""

    name: str
    """How it is spelled in full: `--pipeline-parallel-size`, `VLLM_USE_RUST_FRONTEND`."""
    short: tuple[str, ...] = ()
    """Other spellings of the argument."""
    config: str = ""
    """Where its value stands in vLLM's VllmConfig, attributes joined by dots; empty where it can't be told
    from there.
    """
    allowed: tuple[str, ...] = ()
    """Values that do not ask for the feature, besides those that mean "not set" (None, false, an empty
    text).
    """
    since: Series = OLDEST
    """The release series that brought it. An older one has no such setting, and so it is never found set
    there.
    """

    @property
    def is_argument(self) -> bool:
        """Return whether it is an argument of the server."""
        return self.name.startswith("--")

    def reason(self, why: str, value: str | None, spelled: str = "") -> str:
        """Return the reason against a value; `value` None: it is set, to nothing that can be shown."""
        expected = " or ".join(self.allowed) or "unset"
        return (
            f"{spelled or self.name}: found {value or 'set'}; expected {expected}, because {why}; remove it"
        )


@dataclass(frozen=True, kw_only=True)
class RefusedFeature:
    """A feature that is refused."""

    feature: str
    settings: tuple[Setting, ...]
    why: str
    """A clause that goes on after "because"."""
    platforms: tuple[str, ...] = PLATFORMS
    """Where the runtime refuses it."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """By platform, what the page says after "refused", or in its place where the platform is not one of
    `platforms`.
    """
    shown_by: str = ""
    """The test that shows it, where it is not one of those that read this table."""


RUST_FRONTEND = "VLLM_USE_RUST_FRONTEND"

REFUSALS = (
    RefusedFeature(
        feature="speculative decoding, MTP layers",
        settings=(Setting(name="--speculative-config", short=("-sc",), config="speculative_config"),),
        why="a draft's rows may be taken back, and its layers write the same buffer of choices; neither was "
        "tried",
    ),
    RefusedFeature(
        feature="pipeline parallel",
        settings=(
            Setting(
                name="--pipeline-parallel-size",
                short=("-pp",),
                config="parallel_config.pipeline_parallel_size",
                allowed=("1",),
            ),
        ),
        why="each stage has choices of its own: its first indexer can't be Shared, and no pattern says where "
        "stages begin",
    ),
    RefusedFeature(
        feature="data parallel",
        settings=(
            Setting(
                name="--data-parallel-size",
                short=("-dp",),
                config="parallel_config.data_parallel_size",
                allowed=("1",),
            ),
        ),
        why="control reaches one engine core; the others would go on as they were",
    ),
    RefusedFeature(
        feature="decode or prefill context parallel",
        settings=(
            Setting(
                name="--decode-context-parallel-size",
                short=("-dcp",),
                config="parallel_config.decode_context_parallel_size",
                allowed=("1",),
            ),
            Setting(
                name="--prefill-context-parallel-size",
                short=("-pcp",),
                config="parallel_config.prefill_context_parallel_size",
                allowed=("1",),
            ),
        ),
        why="a choice is split over ranks",
    ),
    RefusedFeature(
        feature="micro-batches (DBO)",
        settings=(
            Setting(name="--enable-dbo", config="parallel_config.enable_dbo"),
            Setting(name="--ubatch-size", config="parallel_config.ubatch_size", allowed=("0", "1")),
        ),
        why="two micro-batches share one buffer: a Shared layer would read the other's rows",
        notes={"cpu": "; vLLM turns DBO off there"},
    ),
    RefusedFeature(
        feature="HiSparse",
        settings=(
            Setting(
                name="--attention-config.hisparse_config",
                short=("-ac.hisparse_config",),
                config="attention_config.hisparse_config",
            ),
        ),
        why="its caches are bound to leaders at start-up",
        notes={"cpu": ", by vLLM too"},
    ),
    RefusedFeature(
        feature="KV connectors, KV offloading",
        settings=(
            Setting(name="--kv-transfer-config", config="kv_transfer_config"),
            Setting(name="--kv-offloading-size", config="cache_config.kv_offloading_size"),
        ),
        why="KV made under reuse would leave the engine without its mark",
    ),
    RefusedFeature(
        feature="offloading weights",
        settings=(
            Setting(name="--cpu-offload-gb", config="offload_config.uva.cpu_offload_gb", allowed=("0",)),
            Setting(
                name="--offload-group-size",
                config="offload_config.prefetch.offload_group_size",
                allowed=("0",),
            ),
        ),
        why="keys of Shared layers are made at the end of a step, when another layer's weights may lie in "
        "their place; "
        "the other way was never tried",
    ),
    RefusedFeature(
        feature="encoder disaggregation",
        settings=(Setting(name="--ec-transfer-config", config="ec_transfer_config"),),
        why="it was never tried",
    ),
    RefusedFeature(
        feature="other attention backends",
        settings=(
            # In a configuration it stands empty where vLLM chooses: the CUDA adapter asks the layers which
            # one they have.
            Setting(
                name="--attention-backend",
                short=("--attention-config.backend", "-ac.backend"),
                allowed=ATTENTION_BACKENDS,
            ),
        ),
        why="the others convert choices to places in the cache in ways of their own; none was tried",
        platforms=("cuda",),
        notes={
            "cpu": "vLLM has one there",
            "cuda": f" but for {' and '.join(f'`{b}`' for b in ATTENTION_BACKENDS)}, of which vLLM takes one "
            "by itself",
        },
    ),
    RefusedFeature(
        feature="KV cache of another type than the model's, fp8 as well",
        settings=(Setting(name="--kv-cache-dtype", config="cache_config.cache_dtype", allowed=CACHE_TYPES),),
        why="keys and values of another type than the model's were never tried",
        notes={"cpu": ": its caches have the model's own type"},
    ),
    RefusedFeature(
        feature="sleep mode",
        settings=(Setting(name="--enable-sleep-mode", config="model_config.enable_sleep_mode"),),
        why="what waking up does to the sites' buffers was never tried",
        notes={"cpu": ", by vLLM too"},
    ),
    RefusedFeature(
        feature="LoRA",
        settings=(Setting(name="--enable-lora", config="lora_config"),),
        why="what was measured and probed on one adapter says nothing of another; a pattern's CUDA graphs "
        "hold none",
    ),
    RefusedFeature(
        feature="several API servers",
        settings=(
            Setting(
                name="--api-server-count",
                short=("-asc",),
                config="parallel_config._api_process_count",
                allowed=("1",),
            ),
        ),
        why="vLLM merges their metrics without those of reuse",
    ),
    RefusedFeature(
        feature="the Rust frontend",
        settings=(Setting(name=RUST_FRONTEND, allowed=("0",)),),
        why="it loads no Python plugins, so it shows no metrics of reuse",
        shown_by="tests/engine/test_refused_settings.py::test_the_servers_switch_is_vllms",
    ),
    RefusedFeature(
        feature="several nodes, Ray",
        settings=(
            Setting(name="--nnodes", short=("-n",), config="parallel_config.nnodes", allowed=("1",)),
            Setting(
                name="--distributed-executor-backend",
                config="parallel_config.distributed_executor_backend",
                allowed=EXECUTORS,
            ),
        ),
        why=f"workers of other nodes, and executors other than {' and '.join(EXECUTORS)}, were never tried",
    ),
)

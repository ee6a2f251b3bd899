"""DeepSeek Sparse Attention (DSA) on vLLM's CPU platform, in plain torch.

vLLM refuses DSA models (DeepSeek-V3.2, GLM-5) on a CPU. This package fills the gap from outside, so that
everything around the kernels of a real engine, and of what is plugged into it, can be run and tested on a
machine without a GPU. It is exact and small, not fast.

| module | what |
|---|---|
| `cpu_platform` | vLLM's CPU platform without the refusal |
| `paging`, `metadata` | which token stands where in the paged caches |
| `attention` | sparse multi-head latent attention |
| `choice`, `indexer` | the lightning indexer |
| `guard` | refuses a vLLM for which this was not written |
| `reference` | the same model in float64 without vLLM or a cache: what tests compare with |
| `random_model` | a small checkpoint in which the choice of positions matters |

Trap: this module and `guard` import nothing of vLLM at their top. They are loaded while vLLM is still finding
out on which platform it runs, and an import of vLLM from here asks for the platform again.
"""

from dsa_cpu import guard


def platform() -> str | None:
    """Return the class that vLLM is to use as its platform, or None where vLLM was not built for CPUs: the
    entry point of `vllm.platform_plugins`.

    A platform from outside beats the built-in ones, so on a GPU host this must stay out of the way.
    """
    return "dsa_cpu.cpu_platform.DsaCpuPlatform" if "cpu" in guard.vllm_version() else None


def register() -> None:
    """Put the indexer in place of vLLM's, if the platform is ours and the version is known: the entry point
    of `vllm.general_plugins`.

    An unknown version is refused by the platform, and there only for models with DSA: the others go on as
    without this package.
    """
    if platform() is None or guard.version_reason() is not None:
        return
    from vllm.platforms import current_platform

    from dsa_cpu.cpu_platform import DsaCpuPlatform

    if isinstance(current_platform, DsaCpuPlatform):
        from dsa_cpu.indexer import register_indexer

        register_indexer()

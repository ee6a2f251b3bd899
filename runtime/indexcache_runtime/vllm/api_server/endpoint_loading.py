"""Has vLLM's API server load our endpoint plugin where VLLM_PLUGINS is unset.

Unset, vLLM loads every general plugin but no endpoint plugin, since those may add routes for everybody to
call. Then the engine would be controlled but show no metrics. Setting the list is no way out, for it would
hide every plugin that it doesn't name. Ours adds no route, so it is added to what vLLM finds. A list that is
set is obeyed: `register`, and so this, runs only if it names indexcache, and vLLM then loads the endpoint
plugin by itself.

Trap: vLLM warns all the same that endpoint plugins were found and VLLM_PLUGINS is not set; it means those of
others.
"""

import functools
import logging
from typing import Any

from indexcache_runtime.vllm.logs import log_as_vllm_does

logger = logging.getLogger(__name__)


def load_unlisted() -> None:
    """Wrap vLLM's loader of endpoint plugins. Called once a process; only the API server calls the loader."""
    from vllm import envs, plugins

    load = getattr(plugins, "load_endpoint_plugins", None)
    if load is None:
        logger.warning(
            "indexcache: this vLLM has no endpoint plugins, so its server will show no metrics of reuse"
        )
        return

    @functools.wraps(load)
    def loaded(*args: Any, **kwargs: Any) -> list[Any]:
        found: list[Any] = load(*args, **kwargs)
        if envs.VLLM_PLUGINS is not None:
            return found
        from indexcache_runtime.vllm.api_server.metrics import (
            NAME,
            endpoint,
        )  # not before: the other processes have no use for it

        if all(plugin.name != NAME for plugin in found):
            log_as_vllm_does()  # again: when plugins were registered, the server's logging was not set up yet
            found.append(endpoint())
            logger.info("indexcache: VLLM_PLUGINS is not set; metrics and headers are added, and no route")
        return found

    plugins.load_endpoint_plugins = loaded

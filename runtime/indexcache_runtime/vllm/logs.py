"""Says where what this plugin logs goes: to vLLM's own handlers, in each of its processes."""

import logging


def log_as_vllm_does() -> None:
    """Let our loggers use vLLM's handlers and level, since vLLM configures its own tree of loggers alone. May
    be called again."""
    ours, theirs = logging.getLogger("indexcache_runtime"), logging.getLogger("vllm")
    ours.handlers, ours.propagate = theirs.handlers, False
    ours.setLevel(theirs.level)

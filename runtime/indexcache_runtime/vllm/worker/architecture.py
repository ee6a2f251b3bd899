"""Defines what a worker must know of an architecture to find the adapter of its model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from indexcache_runtime.engine import Adapter


class Unfit(Exception):
    """The model or its runner is not as the architecture's module expects: says what was found and what was
    expected."""


@dataclass(frozen=True)
class Architecture:
    """Describes one architecture on one platform."""

    name: str
    """As reasons name it."""
    platform: str
    """vLLM's name of the kind of device: "cpu" or "cuda"."""
    model_classes: tuple[str, ...]
    """Names of vLLM's classes, and of the architectures that a model's configuration declares."""
    build: Callable[[Any, Any], Adapter]
    """Makes the adapter of a loaded model and its runner. Raises Unfit."""

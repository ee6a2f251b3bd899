"""Changes vLLM's functions by name, and puts them back."""

import importlib
from collections.abc import Callable
from typing import Any


class Hook:
    """Wraps a module's function while anybody uses it."""

    def __init__(
        self, module: str, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> None:
        self._module, self._name, self._wrap = module, name, wrap
        self._users: set[int] = set()
        self.original: Callable[..., Any] | None = None

    def use(self, user: object, wanted: bool) -> None:
        """Say whether this user wants the function wrapped. Between steps only."""
        (self._users.add if wanted else self._users.discard)(id(user))
        if bool(self._users) == (self.original is not None):
            return
        module = importlib.import_module(self._module)
        if self.original is None:
            self.original = getattr(module, self._name)
            setattr(module, self._name, self._wrap(self.original))
        else:
            setattr(module, self._name, self.original)
            self.original = None

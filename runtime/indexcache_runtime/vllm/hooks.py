"""Changing vLLM's functions and their calls by name, and putting them back."""

import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any


class Hook:
    """A module's function, wrapped while anybody uses it."""

    def __init__(self, module: str, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self._module, self._name, self._wrap = module, name, wrap
        self._users: set[int] = set()
        self.original: Callable[..., Any] | None = None

    def use(self, user: object, wanted: bool) -> None:
        """Whether this user wants the function wrapped. Between steps only."""
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


class Arguments:
    """Sets arguments of a call by name, however the caller passed them."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._places = {name: i for i, name in enumerate(inspect.signature(function).parameters)}

    def get(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The argument passed, None if none was."""
        place = self._places[name]
        return args[place] if place < len(args) else kwargs.get(name)

    def put(self, new: Iterable[tuple[str, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Positional arguments with `new` among them; what wasn't passed by position goes into `kwargs`."""
        out = list(args)
        for name, value in new:
            place = self._places[name]
            if place < len(out):
                out[place] = value
            else:
                kwargs[name] = value
        return out

"""One architecture a module: NAMES of the model classes, `build(model, runner)` -> an engine.Adapter, or Unfit."""


class Unfit(Exception):
    """The model or its runner is not as the architecture's module expects: says what was found and what was expected."""

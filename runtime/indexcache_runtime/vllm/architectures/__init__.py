"""One file an architecture: `NAMES`, the classes of models it may serve, and `build`, which takes such a loaded model or raises `Unfit`."""

"""The vLLM plugin: IndexCache behind flags in a live engine."""

"""IndexCache behind flags in a live vLLM engine."""

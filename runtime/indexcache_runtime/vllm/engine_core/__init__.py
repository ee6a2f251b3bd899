"""Runs in vLLM's engine core: what each step does is settled here, and counted."""

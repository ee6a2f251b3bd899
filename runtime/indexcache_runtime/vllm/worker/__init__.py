"""Runs in vLLM's workers: the model's sites do what a step's plan says, and what is measured goes back."""

"""Makes of engines' counters and answers of probes what each guardrail says."""

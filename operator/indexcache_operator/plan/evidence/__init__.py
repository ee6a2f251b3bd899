"""From engines' counters and answers of probes to what each guardrail says."""

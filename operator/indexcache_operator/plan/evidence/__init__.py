"""Makes of engines' counters and answers of probes what each guardrail says, and of that how far reuse
may reach.
"""

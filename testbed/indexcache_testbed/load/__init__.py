"""A load of real questions: it knows the right answers, and counts what the users of a rollout would have
seen.
"""

"""Decides what is measured in an engine, for how much of its time, and what that says against a pattern."""

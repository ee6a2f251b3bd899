"""Tells where users' requests go, by the engines' own counters."""

"""Decides what is wanted of pods, labels, route and engines, and in which order."""

"""Sends probes: requests of its own to engines, each with and without reuse, in the background."""

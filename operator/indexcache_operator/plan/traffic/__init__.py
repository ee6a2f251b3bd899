"""Where users' requests go, by the engines' own counters."""

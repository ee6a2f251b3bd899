"""Writes what people read: conditions, evidence, printer columns, live figures."""

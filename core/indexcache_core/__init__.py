"""Holds what the operator and the engines share: patterns, the contract between them, and the evidence both
judge by.

Pure: no I/O, no clock, pydantic alone. Everything here is a function of its arguments.
"""

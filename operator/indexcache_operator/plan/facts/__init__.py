"""Holds what decisions rest on: a snapshot of what was observed, the status so far, what is remembered, and
what is asked.
"""

"""Sends probes: requests of its own to both kinds of engines, in the background, while a canary or a
promotion runs.
"""

"""Elects which of several operators acts: by a Lease, whose count of transitions is the leader's term.

Who is to do what is decided purely (decide.py), a Lease is read and written in one place (record.py), and the
elector alone talks to the API server and tells the process what it may do.
"""

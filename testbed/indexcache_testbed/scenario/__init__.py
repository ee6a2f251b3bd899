"""The scenarios of demo and end-to-end tests: one telling of each, which the demo prints and the tests
judge.
"""

"""The objects that a rollout owns, as pure functions of its spec: observe/ compares with them, act/ applies
them.
"""

"""Holds what an engine is told, by whom and until when: the control port and the state machine behind it."""

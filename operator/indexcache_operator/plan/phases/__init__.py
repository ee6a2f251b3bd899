"""Decides what each phase decides, how one begins, and what ends a try from outside it."""

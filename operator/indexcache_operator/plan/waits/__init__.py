"""Tells what a try waits for, where the cause of that lies, for about how long, and what a person can do."""

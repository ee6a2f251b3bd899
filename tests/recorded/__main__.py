"""Writes down what this version says and stores, to be read by every later one: `make record`.

Recorded once a release (docs/releasing.md). Folders of released versions are never written again.
"""

from importlib.metadata import version

from tests.recorded import conversation, rollouts

if __name__ == "__main__":
    conversation.record()
    rollouts.record(version("indexcache-operator"))

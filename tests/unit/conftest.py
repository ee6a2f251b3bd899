"""Property tests say what is wrong, never how fast: no deadline. In CI they try the same examples each time,
elsewhere new ones.

Torch gets one thread: each worker of pytest loads it, and two that spin are ten times slower on a machine
that has something else to do, so that a test of half a minute ran into its timeout. It is set before torch is
loaded, and for the processes that tests start.
"""

import os

from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")

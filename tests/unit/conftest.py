"""Property tests say what is wrong, never how fast: no deadline. In CI they try the same examples each time,
elsewhere new ones.
"""

import os

from hypothesis import settings

settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")

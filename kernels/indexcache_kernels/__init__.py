"""Kernels in Triton, each beside a plain torch reference that says what it computes.

One folder an operation: `naive.py` is the definition, in torch; `triton.py` the kernel; the folder itself
holds the one public function, which chooses by device; `cases.py` the inputs on which all forms must agree.
Nothing here knows vLLM.
"""

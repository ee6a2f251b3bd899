"""A tiny DeepSeek-V3.2 that has really learned, so that a pattern's harm is a fact and not a setting.

`questions` and `patterns` are free of torch: the load generator, the demo and the tests read them.
`architecture`, `objective`, `steps`, `train`, `measure` and `export` make the checkpoint; they need torch
and, of this repository, nothing but this folder, so that training runs on a borrowed GPU from a bare
checkout. This module imports none of them.
"""

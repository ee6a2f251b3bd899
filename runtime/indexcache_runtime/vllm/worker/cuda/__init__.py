"""DeepSeek-V3.2 and GLM-5 on CUDA, under vLLM's second model runner.

`build` looks whether a model fits and makes the `adapter`. Its pieces: `seam`, what of vLLM is touched;
`site`, one indexer; `shared_layer`, a Shared layer's forward; `sampled_rows` and `timing`, what is measured;
`graphs` and `streams`, CUDA graphs by pattern; `batched_keys` and `taps`, what a replayed graph does and
keeps.
"""

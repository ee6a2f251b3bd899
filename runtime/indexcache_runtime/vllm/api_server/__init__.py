"""Runs in vLLM's API server: metrics, headers, and how a request opts out."""

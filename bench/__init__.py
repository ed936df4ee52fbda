"""Benchmarks that compare netmon with similar tools, in a guest."""

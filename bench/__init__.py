"""Benchmarks: netmon beside its peers, in a guest."""

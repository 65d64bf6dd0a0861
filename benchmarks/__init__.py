"""Benchmarks: what the product costs, beside its peers in the same run. Run them with `python -m benchmarks`."""

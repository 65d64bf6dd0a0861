"""The servers that the portal benchmarks talk to, each a process of its own that prints its URL when it listens."""

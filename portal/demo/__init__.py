"""Example upstream servers over one made-up company. They need no network."""

from portal.demo.upstreams import CPU_SECONDS, example_upstreams

__all__ = ["CPU_SECONDS", "example_upstreams"]

"""Example upstream servers over one made-up company, and a guided tour through a portal over them. Needs no network."""

from portal.demo.upstreams import CPU_SECONDS, example_upstreams

__all__ = ["CPU_SECONDS", "example_upstreams"]

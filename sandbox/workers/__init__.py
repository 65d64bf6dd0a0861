"""Isolates in child processes: the wire, the child, its confinement, and the pool that supervises it.

It imports nothing, because the child starts from `sandbox.workers.child` alone. Everything public is in `sandbox`.
"""

"""Isolates in child processes: the wire, the child, its confinement, and the pool that supervises it.

The child imports `sandbox.workers.child` alone; so this file imports nothing. The door is `sandbox` itself.
"""

"""Turns tools described by JSON Schema into typed TypeScript text. Pure functions, deterministic, no I/O."""

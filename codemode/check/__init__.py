"""Checks a program before it runs: what is certain from its text alone, and, where a compiler is there, its types."""

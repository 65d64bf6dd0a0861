"""Checks programs before they run: for certain mistakes by their text, and for types where a compiler is installed."""

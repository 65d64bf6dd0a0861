"""Harnesses of attackers, and of the harm they do: a hostile upstream, and how late the event loop is meanwhile."""

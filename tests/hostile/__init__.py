"""Harnesses of attackers, and of the harm they do, for the tests of whatever is reached from outside."""

"""Attackers as harnesses, for the tests of whatever is reached from outside."""

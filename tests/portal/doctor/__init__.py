"""Tests of what `codemode doctor` finds: each check in a situation that is wrong, and in one that is right."""

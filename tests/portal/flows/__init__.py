"""Tests of data-flow rules."""

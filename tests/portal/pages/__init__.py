"""Tests of the pages: their scripts, charts and style sheets."""

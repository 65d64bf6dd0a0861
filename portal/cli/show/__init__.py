"""The output of the command line: tables, reports and lines for a terminal."""

"""`python -m portal.demo [--serve] [--port PORT]`: the same as `codemode demo`."""

import sys

from portal.cli import main

if __name__ == "__main__":
    main(["demo", *sys.argv[1:]])

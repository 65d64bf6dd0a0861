"""`python -m portal.cli` is the `codemode` command, for environments where the script is not on PATH."""

from portal.cli import main

if __name__ == "__main__":
    main()

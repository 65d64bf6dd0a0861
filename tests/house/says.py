"""A program for the tests of the zygote: it says how it was started, exits with a code, or waits for a signal."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    match sys.argv[1:]:
        case ["exit", code]:
            sys.exit(int(code))
        case ["wait"]:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            say(f"{os.getpid()}\n")
            signal.pause()
        case ["take"]:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            say("ready\n")
            signal.sigwait([signal.SIGTERM])
            say("taken\n")
        case arguments:
            sys.stderr.write("to stderr")
            say(f"{arguments} {os.getcwd()} {sorted(os.environ)} {__name__} {sys.stdin.read()}")


def say(words: str) -> None:
    sys.stdout.write(words)
    sys.stdout.flush()


if __name__ == "__main__":
    main()

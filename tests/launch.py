"""Stands for a program that a zygote runs (`tests/zygote.py`): its pipes, folder, environment, signals and exit code.

    python -I -S tests/launch.py SOCKET MODULE [ARGUMENTS]

It imports next to nothing, which is what it is for. Whoever kills it kills the program.
"""

import json
import os
import signal
import socket
import sys

STANDARD = (0, 1, 2)
FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def main() -> None:
    address, module, *arguments = sys.argv[1:]
    zygote = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    zygote.connect(address)
    launch = {"module": module, "arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    ignored = [number for number in FORWARDED if signal.getsignal(number) is signal.SIG_IGN]
    # A signal is a byte after the line that says what is to run.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    for number in FORWARDED:
        if number not in ignored:
            signal.signal(number, lambda number, _: zygote.sendall(bytes([number])))
    socket.send_fds(zygote, [b"\n"], STANDARD)
    zygote.sendall(json.dumps({**launch, "ignored": ignored}).encode() + b"\n")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    # Only the program has its pipes open, or their other ends would not see it close them.
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in STANDARD:
        os.dup2(nothing, descriptor)
    code = int(zygote.recv(16) or b"1")
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()

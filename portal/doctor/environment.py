"""Checks of what the environment says about the network: proxies, who goes around them, and files of certificates."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from portal.doctor.findings import Diagnosis, notice, ok, trouble
from portal.doctor.probes import reachable

_USED = ("HTTP_PROXY", "HTTPS_PROXY")
_FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")


@dataclass(frozen=True, slots=True)
class ProxyFacts:
    """A proxy that a variable names, without user and password. `problem`: why it cannot be used."""

    variable: str
    place: str
    problem: str = ""
    misspelled: bool = False


@dataclass(frozen=True, slots=True)
class EnvironmentFacts:
    """`all_proxy`: that variable is set. `around`: what NO_PROXY has. `files`: by variable, the file and what is wrong
    with it, "" if nothing is."""

    proxies: Sequence[ProxyFacts] = ()
    all_proxy: bool = False
    around: str = ""
    files: Mapping[str, tuple[str, str]] | None = None


async def environment_facts(environment: Mapping[str, str]) -> EnvironmentFacts:
    """Look at what the environment names."""
    found = {name: value for name in _USED if (value := environment.get(name.lower()) or environment.get(name))}
    proxies = await asyncio.gather(*(_proxy(name, value) for name, value in found.items()))
    files = {name: (path, _file_problem(Path(path))) for name in _FILES if (path := environment.get(name))}
    if (folder := environment.get("SSL_CERT_DIR")) and not Path(folder.split(os.pathsep)[0]).is_dir():
        files["SSL_CERT_DIR"] = (folder, "it is no folder")
    return EnvironmentFacts(
        proxies,
        bool(environment.get("ALL_PROXY") or environment.get("all_proxy")),
        environment.get("no_proxy") or environment.get("NO_PROXY") or "",
        files,
    )


async def _proxy(variable: str, value: str) -> ProxyFacts:
    try:
        parts = urlsplit(value if "//" in value else f"http://{value}")
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    if not host or parts.scheme not in ("http", "https"):
        return ProxyFacts(variable, "", "it is no http:// URL", misspelled=True)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ProxyFacts(variable, place, await reachable(host, port))


def _file_problem(path: Path) -> str:
    try:
        ssl.create_default_context(ssl.Purpose.SERVER_AUTH).load_verify_locations(cafile=str(path))
    except FileNotFoundError:
        return "it is not there"
    except ssl.SSLError:
        return "there is no certificate in it"
    except OSError as error:
        return (error.strerror or "it cannot be read").lower()
    return ""


def environment_findings(facts: EnvironmentFacts) -> Iterator[Diagnosis]:
    """Everything about the environment. Pure."""
    for one in facts.proxies:
        if one.misspelled:
            fix = f"export {one.variable}=http://host:port, or unset {one.variable} {one.variable.lower()}"
            yield trouble("environment.proxies", one.variable, f"{one.variable} names no proxy: {one.problem}.", fix)
        elif one.problem:
            text = f"{one.variable} names {one.place}, which cannot be reached: {one.problem.rstrip('.')}."
            fix = f"correct {one.variable}, or unset {one.variable} {one.variable.lower()}"
            yield trouble("environment.proxies", one.variable, text, fix)
        else:
            around = f" NO_PROXY goes around it for {facts.around[:120]}." if facts.around else ""
            yield ok("environment.proxies", one.variable, f"{one.place} answers.{around}")
    if facts.all_proxy and not facts.proxies:
        text = "ALL_PROXY is set, and servers by URL are reached without it."
        yield notice("environment.proxies", "ALL_PROXY", text, "export HTTPS_PROXY=http://host:port")
    for variable, (path, problem) in (facts.files or {}).items():
        if problem:
            text = f"{variable} names {path}: {problem}."
            yield trouble("environment.certificates", variable, text, f"correct {variable}, or unset {variable}")
        else:
            yield ok("environment.certificates", variable, f"{path} has certificates.")

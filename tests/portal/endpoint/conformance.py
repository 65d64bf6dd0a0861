"""The official MCP conformance suite through the portal: `python -m tests.portal.conformance`.

The SDK's everything-server is the portal's only upstream, shown as it is (`prefix` false), and the suite's server
scenarios are run against the portal with both of its releases: the stable one for the 2025 versions, and the one that
knows 2026-07-28. The scenarios of the Tasks extension have an upstream of their own (`tasking_upstream`). Exits with 1
unless every check passes and none is missing.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from portal.app import Instance, Parts, serving
from portal.config import parse_config
from portal.logs import Discard
from tests.house.source import ROOT
from tests.node_tools import install, node
from tests.portal.endpoint.everything import everything_server
from tests.portal.endpoint.tasking_upstream import PATIENCE, served, tasking_server

PACKAGE = "@modelcontextprotocol/conformance"
SUITE_SECONDS = 300
_LINE = re.compile(r"^[✓✗] (?P<scenario>[\w.-]+): (?P<passed>\d+) passed, (?P<failed>\d+) failed", re.MULTILINE)

_TOTAL = re.compile(r"^Passed: (?P<passed>\d+)/\d+, (?P<failed>\d+) failed", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Suite:
    """One run: a release of the suite, the protocol version it is asked for, and how many checks it has."""

    name: str
    release: str
    options: tuple[str, ...]
    checks: int


SUITES = (
    Suite("2025, stable suite", "0.1.16", (), 44),
    Suite("2025-11-25", "0.2.0-alpha.12", ("--spec-version", "2025-11-25"), 84),
    Suite("2026-07-28", "0.2.0-alpha.12", ("--spec-version", "2026-07-28"), 152),
)


TASKS_RELEASE, TASKS_OPTIONS = "0.2.0-alpha.12", ("--spec-version", "2026-07-28", "--force")
TASK_SCENARIOS = {
    "tasks-capability-negotiation": 5,
    "tasks-dispatch-and-envelope": 9,
    "tasks-lifecycle": 9,
    "tasks-mrtr-composition": 2,
    "tasks-mrtr-input": 4,
    "tasks-request-headers": 5,
    "tasks-request-state-removal": 3,
    "tasks-required-task-error": 3,
    "tasks-wire-fields": 4,
}
"""The scenarios of the Tasks extension and how many checks each has. One more, of notifications, checks nothing yet."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run said. `failed` names the scenarios with a failed check."""

    suite: Suite
    passed: int
    failed: tuple[str, ...]
    output: str

    @property
    def green(self) -> bool:
        return not self.failed and self.passed == self.suite.checks

    def __str__(self) -> str:
        mark = "ok  " if self.green else "FAIL"
        failed = f"; failed: {', '.join(self.failed)}" if self.failed else ""
        return f"{mark} {self.suite.name:28} {self.passed}/{self.suite.checks} checks passed{failed}"


@asynccontextmanager
async def portal_over(upstream: str) -> AsyncIterator[str]:
    """A portal whose only server is shown as it is; gives its MCP URL, spelt as the suite wants it."""
    config = parse_config({"mcpServers": {"everything": {"url": upstream, "prefix": False}}})
    async with Instance.open(config, Discard(), parts=Parts(code=None)) as instance:
        await instance.servers.settled()
        async with serving(instance) as url:
            yield url.replace("127.0.0.1", "localhost") + "/mcp"


@asynccontextmanager
async def portal_with_tasks() -> AsyncIterator[str]:
    """A portal for the scenarios of tasks, whose clients have little patience; gives its MCP URL."""
    async with served(tasking_server()) as upstream:
        servers = {"tasking": {"url": upstream, "prefix": False}}
        portal = {"runs": {"patience": PATIENCE, "patienceWithProgress": PATIENCE}}
        config = parse_config({"mcpServers": servers, "portal": portal})
        async with Instance.open(config, Discard(), parts=Parts(code=None)) as instance:
            await instance.servers.settled()
            async with serving(instance) as url:
                yield url.replace("127.0.0.1", "localhost") + "/mcp"


async def output_of(release: str, *arguments: str) -> str:
    """What a release of the suite prints. Raises `NodeToolUnavailable` where Node or the suite cannot be had."""
    program = await asyncio.to_thread(node)
    root: Path = await asyncio.to_thread(install, f"{PACKAGE}@{release}")
    script = root / "node_modules" / PACKAGE / "dist" / "index.js"
    process = await asyncio.create_subprocess_exec(
        str(program),
        *(str(script), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
    )
    try:
        async with asyncio.timeout(SUITE_SECONDS):
            raw, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return raw.decode(errors="replace")


async def run_suite(suite: Suite, url: str) -> Outcome:
    """Run one suite against a server. Raises `NodeToolUnavailable` where Node or the suite cannot be had."""
    output = await output_of(suite.release, "server", "--url", url, "--suite", "all", *suite.options)
    found = list(_LINE.finditer(output))
    failed = tuple(match["scenario"] for match in found if match["failed"] != "0")
    return Outcome(suite, sum(int(match["passed"]) for match in found), failed, output)


async def run_scenario(name: str, url: str) -> Outcome:
    """Run one scenario of tasks against a server. Raises as `run_suite`."""
    suite = Suite(name, TASKS_RELEASE, TASKS_OPTIONS, TASK_SCENARIOS[name])
    output = await output_of(suite.release, "server", "--url", url, "--scenario", name, *suite.options)
    found = _TOTAL.search(output)
    failed = (name,) if found is None or found["failed"] != "0" else ()
    return Outcome(suite, 0 if found is None else int(found["passed"]), failed, output)


async def run_task_scenarios(at_once: int = 3) -> list[Outcome]:
    """Run the scenarios of tasks, some at a time: they mostly wait. Raises as `run_suite`."""
    turns = asyncio.Semaphore(at_once)

    async def run(name: str, url: str) -> Outcome:
        async with turns:
            return await run_scenario(name, url)

    async with portal_with_tasks() as url:
        return await asyncio.gather(*(run(name, url) for name in TASK_SCENARIOS))


async def main() -> int:
    outcomes = []
    async with everything_server() as upstream, portal_over(upstream) as url:
        for suite in SUITES:
            outcome = await run_suite(suite, url)
            sys.stdout.write(f"{outcome}\n")
            sys.stdout.flush()
            outcomes.append(outcome)
    for outcome in await run_task_scenarios():
        sys.stdout.write(f"{outcome}\n")
        outcomes.append(outcome)
    for outcome in outcomes:
        if not outcome.green:
            sys.stdout.write(f"\n--- {outcome.suite.name} ---\n{outcome.output[-6000:]}\n")
    return 0 if all(outcome.green for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

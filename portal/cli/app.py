"""The commands with their options and help. Each command has a module of its own, which is imported when it runs."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from portal.cli.admin_group import admin_group
from portal.cli.client_group import client_group
from portal.cli.completion import (
    complete_install,
    complete_path,
    complete_portal,
    complete_server,
    complete_stubs,
    complete_tool,
)
from portal.cli.finish import end_without_output, finish, usable_streams
from portal.cli.help import CommandLine
from portal.cli.loading import loading
from portal.cli.log_group import log_group
from portal.cli.options import (
    ConfigOption,
    CreateOption,
    FileArgument,
    JsonOption,
    PruneOption,
    StateOption,
    StoreConfigOption,
)
from portal.cli.pin_group import pin_group
from portal.cli.run_group import approval_group, run_group
from portal.cli.server_group import server_group

EXAMPLES = """
\b
For example:
  codemode init                             # your clients' servers, and your clients connected
  codemode connect                          # which clients there are, and which are connected
  codemode demo                             # a guided tour with example servers
  codemode add docs https://docs.example.com/mcp   # one more server
  codemode serve                            # one URL over the servers of codemode.json
  codemode stdio                            # the same, for a client that starts programs
  codemode tools                            # which servers answer, and their tools
  codemode search "late shipments"          # find a tool by what it does
  codemode describe shop.list_orders        # its TypeScript declaration
  codemode call shop.list_orders limit=3    # call it
  codemode doctor                           # what does not work, and what mends it
  codemode run report.js                    # run a program that calls tools
  codemode stubs -o codemode.d.ts           # their types, for your editor
  codemode test tests                       # run programs that say what they expect
  codemode bench-ui --demo                  # write and run programs in the browser
  codemode scan access.log                  # MCP traffic that goes around the portals

\b
Configuration: --config FILE, else the first of codemode.json, codemode.toml,
.mcp.json, mcp.json, .cursor/mcp.json, .vscode/mcp.json in this folder, else
~/.config/codemode/config.json. The common {"mcpServers": {...}} form works as is.

\b
Exit codes: 0 ok, 1 the program or tool failed, 2 usage or configuration,
3 an upstream server does not answer, 4 a fault of our own, 130 interrupted,
141 nobody reads the output any more.
"""

COMPLETES = "_CODEMODE_COMPLETE"
"""The variable with which shells ask for a completion."""

app = CommandLine(
    name="codemode",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"codemode {version('codemode-portal')}")
        raise typer.Exit


@app.callback(epilog=EXAMPLES)
def codemode(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Many MCP servers behind one URL, and one tool, `code`, that runs an
    agent's program in a fresh WebAssembly isolate."""


@app.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Address to listen on; loopback unless configured.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = None,
) -> None:
    """Serve the configured servers behind one URL until interrupted.

    Prints the URL, how to connect a client, and each server's state as it
    becomes known. Changes of the configuration file apply while it runs. Logs
    go to standard error: for people on a terminal, as JSON lines otherwise.

    \b
    codemode serve
    codemode serve --config .mcp.json --port 8788
    """
    from portal.cli.commands.serve import serve as command

    finish(lambda: command(config, host, port), serving=True)


@app.command()
def run(
    file: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="JavaScript or TypeScript; - reads standard input.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    mock: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Answer calls from mocks (.json, .yaml, .py, .js), without servers."),
    ] = None,
    tools: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Saved tools that the mocks replace."),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Record every call with its result there; it may hold secrets.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Repeat a recorded run exactly, without servers.")
    ] = None,
    input: Annotated[str | None, typer.Option(metavar="JSON", help="The value of `input` in the program.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Run again whenever a file changes.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="List the calls it would make; only calls that read are made.")
    ] = False,
    json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result, as JSON.")] = False,
) -> None:
    """Run a program against servers, mocks or a recording.

    Shows the program, its calls with their times, its logs, its result and
    its cost in tokens.

    \b
    codemode run report.js
    echo 'codemode.search("orders")' | codemode run -
    codemode run report.js --quiet | jq .
    codemode run report.js --mock mocks.json --watch
    codemode run report.js --record last-run; codemode run --replay last-run
    codemode run cleanup.js --plan
    """
    from portal.cli.commands.run import RunOptions, RunOutput, read_program
    from portal.cli.commands.run import run as command

    finish(
        lambda: command(
            file,
            read_program(file) if file is not None else None,
            config,
            RunOptions(mock=mock, tools=tools, record=record, replay=replay, input=input, watch=watch, plan=plan),
            RunOutput(json=json, result_only=quiet),
        )
    )


@app.command()
def tools(
    server: Annotated[
        str | None, typer.Argument(metavar="SERVER", help="Only this server.", autocompletion=complete_server)
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    doc: Annotated[bool, typer.Option("--doc", help="Write it as a Markdown document, with all types.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the document to this file.")
    ] = None,
    portal: Annotated[
        str,
        typer.Option(
            metavar="ID", help="A further portal, whose names the document has.", autocompletion=complete_portal
        ),
    ] = "",
) -> None:
    """List the servers with their state, and their tools.

    \b
    codemode tools
    codemode tools shop --json | jq -r '.servers[].tools[].path'
    codemode tools --doc -o tools.md
    """
    from portal.cli.commands.catalog import DocumentOptions
    from portal.cli.commands.catalog import tools as command

    document = DocumentOptions(output, portal) if doc or output is not None or portal else None
    finish(lambda: command(server, config, as_json=json, document_options=document))


@app.command()
def call(
    tool: Annotated[
        str,
        typer.Argument(metavar="SERVER.TOOL", help="As `codemode tools` prints it.", autocompletion=complete_tool),
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGUMENT", help="One JSON object, or key=value words; see above.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Call one tool.

    \b
    codemode call shop.list_orders status=shipped limit=3
    codemode call shop.list_orders '{"status": "shipped", "limit": 3}'
    codemode call notes.tag id=7 labels:='["a", "b"]'   # := is always JSON
    """
    from portal.cli.commands.call import call as command

    finish(lambda: command(tool, arguments or [], config, as_json=json))


@app.command()
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What the tool should do, in a few words.")],
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=50, help="How many to show.")] = 10,
    server: Annotated[
        str | None, typer.Option(metavar="SERVER", help="Only this server.", autocompletion=complete_server)
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Find tools by what they do.

    The same search that a program has as `codemode.search`.

    \b
    codemode search "late shipments"
    codemode search "late shipments" --server shop --limit 3
    """
    from portal.cli.commands.catalog import search as command

    finish(lambda: command(query, limit, server, config, as_json=json))


@app.command()
def describe(
    path: Annotated[
        str,
        typer.Argument(
            metavar="SERVER|SERVER.TOOL", help="A tool, or a server for all of its tools.", autocompletion=complete_path
        ),
    ],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Print the TypeScript of a tool or a server.

    \b
    codemode describe shop.list_orders
    codemode describe shop --json | jq -r .typeScript
    """
    from portal.cli.commands.catalog import describe as command

    finish(lambda: command(path, config, as_json=json))


@app.command()
def stubs(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SERVER|FILE] | diff OLD [NEW]",
            help="Default: every configured server.",
            autocompletion=complete_stubs,
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file.")] = None,
    config: ConfigOption = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the tools, to save them; with diff, the changes.")
    ] = False,
) -> None:
    """Print declarations for an editor, or what changed upstream.

    FILE is a configuration, saved tools, or the JSON of a tools/list. `diff`
    says what changed from OLD to NEW (default: the servers now) and whether
    it breaks programs; it ends with 1 if it does, else 0.

    \b
    codemode stubs -o codemode.d.ts
    codemode stubs --json -o tools.json
    codemode stubs diff tools.json
    """
    from portal.cli.commands.stubs import stubs as command

    finish(lambda: command(words or [], output, config, as_json=json))


@app.command()
def test(
    places: Annotated[
        list[Path] | None, typer.Argument(metavar="DIR|FILE", help="Default: this folder.", show_default=False)
    ] = None,
    words: Annotated[
        str | None, typer.Option("-k", metavar="WORDS", help="Only tests with these names; and, or, not.")
    ] = None,
    first_only: Annotated[bool, typer.Option("-x", help="Stop at the first failure.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Write the results into the expectations.")] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results as JUnit XML.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="One line a test.")] = False,
    json: JsonOption = False,
) -> None:
    """Run tests: programs with expected results.

    A test is name.js (or .ts) and name.test.yaml (or .json) with its input,
    mocks, and the result, error, calls or logs to expect. No server is needed.
    Ends with 0 if all passed, 1 if one failed, 5 if there are none.

    \b
    codemode test tests
    codemode test tests/late.test.yaml -k late -x
    codemode test tests --junit results.xml
    """
    from portal.cli.commands.test import SuiteOptions
    from portal.cli.commands.test import test as command

    options = SuiteOptions(
        places=tuple(places or [Path()]),
        words=words,
        first_only=first_only,
        update=update,
        junit=junit,
        verbose=verbose,
        as_json=json,
    )

    finish(lambda: command(options))


@app.command()
def replay(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run, as its agent and the log have it.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Repeat a recorded run without any server, and compare.

    The program gets again what it got then, and each call with its
    arguments, each line of its logs and its result are compared. Runs are
    recorded with `"runs": {"record": "on"}` in the `portal` section.

    Ends with 0 if all is equal, 1 if something differs, and 2 if the run
    cannot be replayed. That it was replayed is a row of the log.

    \b
    codemode replay exec_35aff83a7dab5b49cb212de2
    """
    from portal.cli.commands.replay import replay_run as command

    finish(lambda: command(run, config, as_json=json))


@app.command("bench-ui")
def bench_ui(
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="A program to begin with.")] = None,
    config: ConfigOption = None,
    demo: Annotated[bool, typer.Option("--demo", help="Over the example servers; needs no configuration.")] = False,
    open: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="A plain text field; fetches no editor.")] = False,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Loopback address to listen on; others are refused.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
) -> None:
    """Write and run programs in the browser.

    A page on this machine: an editor with the servers' types and completion,
    runs live or mocked, the calls as a waterfall, logs, result, tokens. The
    first start fetches the editor through npm or deno into the user's cache.

    \b
    codemode bench-ui --demo
    codemode bench-ui report.js --open
    """
    from portal.cli.commands.bench_ui import BenchOptions
    from portal.cli.commands.bench_ui import bench_ui as command

    options = BenchOptions(program=file, demo=demo, plain=plain, open=open, host=host, port=port)
    finish(lambda: command(config, options), serving=True)


@app.command()
def typecheck(
    action: Annotated[
        str | None,
        typer.Argument(metavar="install", help="Get TypeScript's compiler.", autocompletion=complete_install),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show which compiler checks the types of programs.

    `install` fetches TypeScript's native compiler, one pinned package whose
    hash is checked, through npm or Deno into your cache folder. Ends with 1
    if there is none.

    \b
    codemode typecheck
    codemode typecheck install
    """
    from portal.cli.commands.typecheck import typecheck as command

    finish(lambda: command(action, as_json=json))


policies = CommandLine(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(policies, name="policy")


@policies.callback()
def policy() -> None:
    """Try access policies before they apply.

    \b
    codemode policy test --identity ada@example.com
    """


@policies.command("test")
def policy_test(
    identity: Annotated[
        str, typer.Option(metavar="WHO", help="An e-mail address, a JSON object, or @FILE with one; empty: anonymous.")
    ],
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Access policies: JSON, YAML or TOML.", show_default=False),
    ] = None,
    call: Annotated[
        str | None, typer.Option(metavar="SERVER.TOOL", help="Decide this call too.", autocompletion=complete_tool)
    ] = None,
    arguments: Annotated[str, typer.Option(metavar="JSON", help="The arguments of that call.")] = "{}",
    portal: Annotated[
        str, typer.Option(metavar="ID", help="A further portal, instead of the first.", autocompletion=complete_portal)
    ] = "",
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show what policies decide about a person, and why.

    Without FILE these are the policies of the configuration and its database:
    what a running portal decides. FILE has policies to try; the sources that
    it refers to count as configured.

    Prints each server and tool with the policy that decides. The tools are
    those that the policies name and those that the configuration's servers
    list (with FILE, only if --config is given). Ends with 1 if the call, or
    the portal, is denied.

    \b
    codemode policy test --identity ada@example.com
    codemode policy test access.yaml --identity ada@example.com
    codemode policy test access.yaml --identity '{"email": "ada@example.com", "groups": ["ops"], "idp_id": "okta"}'
    """
    from portal.cli.commands.policy import PolicyQuery
    from portal.cli.commands.policy import test as command

    finish(lambda: command(PolicyQuery(file, identity, call, arguments, config, json, portal)))


@app.command()
def demo(
    serve: Annotated[bool, typer.Option("--serve", help="Leave the portal running for your own client.")] = False,
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="Port for --serve.")] = 8787,
) -> None:
    """A guided tour with example servers.

    Starts a portal over three example servers that need no network, runs three
    programs through it as an MCP client would, and shows what happened.

    \b
    codemode demo
    codemode demo --serve
    """
    from portal.cli.commands.demo import demo as command

    finish(lambda: command(port=port, stay=serve), serving=True)


keys_group = CommandLine(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(keys_group, name="keys")


@keys_group.callback()
def keys() -> None:
    """Renew the keys that stored secrets are encrypted with.

    \b
    codemode keys rotate
    """


@keys_group.command("rotate")
def rotate_keys(
    state: StateOption = None,
    config: StoreConfigOption = None,
    forget: Annotated[bool, typer.Option("--forget", help="Remove keys that no secret needs any more.")] = False,
    json: JsonOption = False,
) -> None:
    """Encrypt stored secrets under a new key.

    It may be interrupted: the next one continues. A running portal is not
    disturbed. Older copies of the database need the older keys, which stay
    in the key file unless --forget is given.

    \b
    codemode keys rotate
    codemode keys rotate --forget
    """
    from portal.cli.commands.state import rotate as command

    finish(lambda: command(state, config, forget=forget, as_json=json))


@app.command("api-token")
def api_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    whom: Annotated[
        str | None,
        typer.Option("--for", metavar="ADDRESS", help="The person it stands for, who has signed in."),
    ] = None,
    state: StateOption = None,
    config: StoreConfigOption = None,
    create: CreateOption = False,
    json: JsonOption = False,
) -> None:
    """Make a token for the admin API with every permission.

    Its value goes to standard output, once. Make tokens with fewer
    permissions through the API itself.

    With --for it stands for a person, who sees and decides with it the
    approvals that they may decide, and nothing else. Give it to nobody's
    agent.

    \b
    codemode api-token terraform
    TOKEN=$(codemode api-token terraform --config codemode.json)
    codemode api-token inbox --for grace@example.com
    """
    from portal.cli.commands.state import make_token as command

    finish(lambda: command(name, whom, state, config, create=create, as_json=json))


@app.command()
def plan(
    file: FileArgument,
    state: StateOption = None,
    config: StoreConfigOption = None,
    prune: PruneOption = False,
    json: JsonOption = False,
) -> None:
    """Show what `codemode apply FILE` would change.

    Ends with 1 if there are changes, so that scripts can check for them.

    \b
    codemode plan portal.yaml
    codemode plan portal.yaml --prune --json
    """
    from portal.cli.commands.declared import DeclarationOptions, show_plan

    finish(lambda: show_plan(DeclarationOptions(file, state, config, prune, as_json=json)))


@app.command()
def apply(
    file: FileArgument,
    state: StateOption = None,
    config: StoreConfigOption = None,
    prune: PruneOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: JsonOption = False,
    create: CreateOption = False,
) -> None:
    """Create and change stored objects as FILE says.

    They are servers, portals, policies, groups and the rest.

    Sections that FILE does not have are left alone. ${VAR} comes from the
    environment, for secrets. A running portal on the same database applies
    the changes within a second.

    \b
    codemode apply portal.yaml
    codemode apply portal.yaml --prune --yes
    """
    from portal.cli.commands.declared import DeclarationOptions
    from portal.cli.commands.declared import apply as command

    finish(lambda: command(DeclarationOptions(file, state, config, prune, yes, json, create)))


@app.command()
def export(
    output: Annotated[Path | None, typer.Option("-o", metavar="FILE", help="Write to this file.")] = None,
    state: StateOption = None,
    config: StoreConfigOption = None,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of YAML; `codemode apply` takes both.")] = False,
) -> None:
    """Write what is stored as a file for `codemode apply`.

    Secrets are not in it.

    \b
    codemode export -o portal.yaml
    codemode export --json | jq .servers
    """
    from portal.cli.commands.declared import export as command

    finish(lambda: command(output, state, config, as_json=json))


app.add_typer(admin_group, name="admin")
app.add_typer(server_group)
app.add_typer(client_group)
app.add_typer(log_group, name="logs")
app.add_typer(pin_group, name="pins")
app.add_typer(run_group, name="runs")
app.add_typer(approval_group, name="approvals")


@app.command()
def scan(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Logs or HAR files, also .gz; - is standard input.")
    ],
    config: ConfigOption = None,
    portal: Annotated[
        list[str] | None, typer.Option("--portal", metavar="URL", help="A portal beside those of the configuration.")
    ] = None,
    portal_address: Annotated[
        list[str] | None,
        typer.Option("--portal-address", metavar="ADDRESS", help="Where a portal's own requests to servers come from."),
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option("--host", metavar="HOST", help="Only this host; *.example.com for all below.")
    ] = None,
    site: Annotated[str, typer.Option("--site", metavar="HOST", help="The host of lines that name none.")] = "",
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="From then on: 2026-11-29, 2026-11-29T08:00, 24h, 7d.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before then.")] = None,
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="Write what was found as a page, too: one HTML file.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Find MCP traffic in logs that goes around the portals.

    Reads access logs (Apache, nginx, Caddy, Traefik, Envoy, IIS, AWS), Squid's
    log, and HAR files with their bodies. Queries, credentials and bodies are
    never shown. Times are UTC. Ends with 1 if something certain or likely was
    found, so that scripts can check for it.

    \b
    codemode scan /var/log/squid/access.log*
    codemode scan traffic.har --portal https://agents.example.com
    codemode scan access.log --page report.html
    """
    from portal.cli.commands.scan import ScanOptions
    from portal.cli.commands.scan import scan as command

    options = ScanOptions(
        files, config, portal or (), portal_address or (), host or (), site, since, until, as_json=json, page=page
    )
    finish(lambda: command(options))


def main(arguments: list[str] | None = None) -> None:
    """Run the `codemode` command with these arguments, or those of the process."""
    # What is imported stays: to look for garbage in it takes a tenth of the time in which a command starts.
    gc.disable()
    usable_streams()
    called = app
    if COMPLETES not in os.environ:  # The terminal has the line that is being typed, which may go on with any command.
        loading.begin()
        called = app.with_only(sys.argv[1:] if arguments is None else arguments) or app
    try:
        called(arguments, prog_name="codemode")
    except OSError as error:  # The help, or the version, has nowhere to go: commands themselves end in `finish`.
        end_without_output(error)
    finally:
        loading.done()

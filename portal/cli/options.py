"""The options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from portal.cli.completion import complete_kind, complete_server

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration document to use.")
]


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs to read.")]
StateOption = Annotated[
    str | None,
    typer.Option(
        "--state",
        metavar="URL",
        envvar="CODEMODE_STATE",
        help="The database: sqlite:///FILE or postgresql://...; default: that of the configuration.",
    ),
]
StoreConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration whose database to use.")
]
CreateOption = Annotated[bool, typer.Option("--create", help="Make the database if it is not there.")]
PruneOption = Annotated[bool, typer.Option("--prune", help="Remove what the file's sections do not name.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="What there should be: YAML or JSON.")]
KindArgument = Annotated[
    str,
    typer.Argument(metavar="KIND", help="servers, portals, policies, groups, apps, ...", autocompletion=complete_kind),
]
RemovedArgument = Annotated[
    str,
    typer.Argument(metavar="KIND|EMAIL", help="A kind and an id, or an address.", autocompletion=complete_kind),
]
ServerArgument = Annotated[
    str, typer.Argument(metavar="SERVER", help="The server, by its id.", autocompletion=complete_server)
]
EmailArgument = Annotated[str, typer.Argument(metavar="EMAIL", help="The administrator's e-mail address.")]
RoleOption = Annotated[
    Literal["owner", "admin", "auditor"] | None, typer.Option("--role", help="What the administrator may do.")
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `codemode admin list` prints it.")]

"""The commands about what a portal stores: their options and help. What they do is in `declared` and `administer`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

Finish = Callable[[Callable[[], Coroutine[Any, Any, int]]], None]

StateOption = Annotated[
    str | None,
    typer.Option("--state", metavar="URL", envvar="CODEMODE_STATE", help="The database, e.g. sqlite:////srv/state.db."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Take the database from this configuration.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs to read.")]
PruneOption = Annotated[bool, typer.Option("--prune", help="Remove what the file's sections do not name.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="What there should be: YAML or JSON.")]


def add_to(app: typer.Typer, finish: Finish) -> None:
    """Add the commands to the whole."""
    _declared(app, finish)
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at what is stored, and remove of it.")
    app.add_typer(group, name="admin")
    _administer(group, finish)


def _declared(app: typer.Typer, finish: Finish) -> None:
    @app.command()
    def plan(
        file: FileArgument,
        state: StateOption = None,
        config: ConfigOption = None,
        prune: PruneOption = False,
        json: JsonOption = False,
    ) -> None:
        """Show what `codemode apply FILE` would change.

        Ends with 1 when that is anything, so that a check can ask for it.
        """
        from portal.cli.declared import Wanted, show_plan

        finish(lambda: show_plan(Wanted(file, state, config, prune, as_json=json)))

    @app.command()
    def apply(
        file: FileArgument,
        state: StateOption = None,
        config: ConfigOption = None,
        prune: PruneOption = False,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
        json: JsonOption = False,
    ) -> None:
        """Make servers, portals, policies and the rest as FILE says.

        Sections that FILE does not have are left alone. ${VAR} is taken from
        the environment, for secrets. A portal on the same database takes the
        changes up within a second.
        """
        from portal.cli.declared import Wanted
        from portal.cli.declared import apply as command

        finish(lambda: command(Wanted(file, state, config, prune, yes, json)))

    @app.command()
    def export(
        output: Annotated[Path | None, typer.Option("-o", metavar="FILE", help="Write to this file.")] = None,
        state: StateOption = None,
        config: ConfigOption = None,
    ) -> None:
        """Write what is stored as a file for `codemode apply`, without secrets."""
        from portal.cli.declared import export as command

        finish(lambda: command(output, state, config))


KindArgument = Annotated[str, typer.Argument(metavar="KIND", help="servers, portals, policies, groups, apps, ...")]
IdArgument = Annotated[str, typer.Argument(metavar="ID")]


def _administer(group: typer.Typer, finish: Finish) -> None:
    @group.callback()
    def admin() -> None:
        """Look at what is stored, and remove of it.

        These commands work on the database itself, beside a portal that runs.
        """

    @group.command("list")
    def list_(
        kind: KindArgument, state: StateOption = None, config: ConfigOption = None, json: JsonOption = False
    ) -> None:
        """All objects of one kind."""
        from portal.cli.administer import listed

        finish(lambda: listed(kind, state, config, as_json=json))

    @group.command()
    def show(kind: KindArgument, id: IdArgument, state: StateOption = None, config: ConfigOption = None) -> None:
        """One object, as the admin API shows it."""
        from portal.cli.administer import shown

        finish(lambda: shown(kind, id, state, config))

    @group.command()
    def remove(kind: KindArgument, id: IdArgument, state: StateOption = None, config: ConfigOption = None) -> None:
        """Remove one object; refused while others use it."""
        from portal.cli.administer import removed

        finish(lambda: removed(kind, id, state, config))

    @group.command()
    def audit(
        limit: Annotated[int, typer.Option(min=1, max=1000, help="How many entries.")] = 50,
        state: StateOption = None,
        config: ConfigOption = None,
    ) -> None:
        """Who changed what, newest first."""
        from portal.cli.administer import audit as command

        finish(lambda: command(limit, state, config))

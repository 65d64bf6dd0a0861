"""The commands of `codemode runs` and `codemode approvals`, with their options and help."""

from __future__ import annotations

from typing import Annotated

import typer

from portal.cli.completion import complete_approval_state, complete_run_state
from portal.cli.exits import CommandError, Exit
from portal.cli.finish import finish
from portal.cli.help import CommandLine
from portal.cli.options import JsonOption, StateOption, StoreConfigOption

run_group = CommandLine(no_args_is_help=True, rich_markup_mode=None)
approval_group = CommandLine(no_args_is_help=True, rich_markup_mode=None)

RunArgument = Annotated[str, typer.Argument(metavar="ID", help="The run, as its agent and the log have it.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", metavar="ROWS", help="So many, 1 to 200.")]
AsOption = Annotated[
    str, typer.Option("--as", metavar="ADDRESS", help="Who decides: somebody who has signed in, by their address.")
]
CommentOption = Annotated[
    str, typer.Option("--comment", metavar="WORDS", help="For whose call it is, and for others who decide.")
]
AllOption = Annotated[
    str | None, typer.Option("--all", metavar="RUN", help="All that this run waits for, in place of an ID.")
]
ApprovalsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="Approvals, as `codemode approvals list` has them.")
]


@run_group.callback()
def runs() -> None:
    """List, wait for and cancel programs that wait.

    A program that waits for people for long is put into the database and
    goes on when what it waits for is there, in any process. Others are in
    `codemode logs --kind run` when they have ended.

    These commands work on the database itself, also while a portal runs.

    \b
    codemode runs list
    codemode runs wait exec_35aff83a7dab5b49cb212de2
    """


@run_group.command("list")
def list_runs(
    which: Annotated[
        str,
        typer.Argument(
            metavar="STATE", help="open (not ended), parked, completed, ...", autocompletion=complete_run_state
        ),
    ] = "open",
    limit: LimitOption = 50,
    state: StateOption = None,
    config: StoreConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List the runs that are kept in the database.

    \b
    codemode runs list
    codemode runs list parked --json
    """
    from portal.cli.commands.runs import STATES
    from portal.cli.commands.runs import list_runs as command

    async def show() -> Exit:
        return await command(_word(which, STATES), _limit(limit), state, config, as_json=json)

    finish(show)


@run_group.command("show")
def show_run(
    id: RunArgument,
    state: StateOption = None,
    config: StoreConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show one run, and what it asks people for.

    \b
    codemode runs show exec_35aff83a7dab5b49cb212de2
    """
    from portal.cli.commands.runs import show_run as command

    finish(lambda: command(id, state, config, as_json=json))


@run_group.command("wait")
def wait_for_run(
    id: RunArgument,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", help="So long at most; default: without end."),
    ] = None,
    state: StateOption = None,
    config: StoreConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Wait until a run has ended, and print how.

    Ends with 1 unless the run has completed.

    \b
    codemode runs wait exec_35aff83a7dab5b49cb212de2 --timeout 600
    """
    from portal.cli.commands.runs import wait_for_run as command

    async def wait() -> Exit:
        if timeout is not None and not 0 < timeout <= MOST_SECONDS:
            raise CommandError(f"--timeout is more than 0 and at most {MOST_SECONDS} seconds.")
        return await command(id, timeout, state, config, as_json=json)

    finish(wait)


@run_group.command("cancel")
def cancel_run(
    id: RunArgument,
    state: StateOption = None,
    config: StoreConfigOption = None,
    json: JsonOption = False,
) -> None:
    """End a run that has not ended, whichever process runs it.

    Calls that have completed are not undone.

    \b
    codemode runs cancel exec_35aff83a7dab5b49cb212de2
    """
    from portal.cli.commands.runs import cancel_run as command

    finish(lambda: command(id, state, config, as_json=json))


@approval_group.callback()
def approvals() -> None:
    """Show and decide the calls that wait for an approval.

    Who decides is the person named with --as, and only if the policy lets
    that person decide. What a person has to approve in their browser is not
    approved here.

    These commands work on the database itself, also while a portal runs.

    \b
    codemode approvals list
    codemode approvals approve apr_3f0c --as grace@example.com
    """


@approval_group.command("list")
def list_approvals(
    which: Annotated[
        str,
        typer.Argument(
            metavar="STATE", help="pending, approved, used, denied, ... or any.", autocompletion=complete_approval_state
        ),
    ] = "pending",
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="Those of one run.")] = None,
    limit: LimitOption = 50,
    state: StateOption = None,
    config: StoreConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List the calls that wait for an approval.

    \b
    codemode approvals list
    codemode approvals list any --run exec_35aff83a7dab5b49cb212de2
    """
    from portal.cli.commands.approvals import STATES
    from portal.cli.commands.approvals import list_approvals as command

    async def show() -> Exit:
        return await command(_word(which, STATES), run, _limit(limit), state, config, as_json=json)

    finish(show)


@approval_group.command("show")
def show_approval(
    id: Annotated[str, typer.Argument(metavar="ID", help="The approval, as `codemode approvals list` has it.")],
    state: StateOption = None,
    config: StoreConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show one approval with the whole arguments of its call.

    They are opened with the key of the database, which is a row of the log.
    Characters that are not seen are escaped.

    \b
    codemode approvals show apr_3f0c
    """
    from portal.cli.commands.approvals import show_approval as command

    finish(lambda: command(id, state, config, as_json=json))


@approval_group.command("approve")
def approve(
    as_: AsOption,
    ids: ApprovalsArgument = None,
    run: AllOption = None,
    comment: CommentOption = "",
    remember: Annotated[
        str | None,
        typer.Option("--remember", metavar="TIME", help="So long (15m, 1h) further calls of the tool need none."),
    ] = None,
    uses: Annotated[int | None, typer.Option("--uses", metavar="N", help="With --remember: so many calls.")] = None,
    this_run: Annotated[bool, typer.Option("--this-run", help="With --remember: of this run only.")] = False,
    state: StateOption = None,
    config: StoreConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Approve calls that wait, as a person who may.

    Ends with 1 unless all of them are decided so.

    \b
    codemode approvals approve apr_3f0c --as grace@example.com
    codemode approvals approve --all exec_35aff83a7dab --as grace@example.com
    """
    from portal.cli.commands.approvals import DecisionOptions
    from portal.cli.commands.approvals import decide as command

    options = DecisionOptions(
        ids=tuple(ids or ()),
        run=run,
        who=as_,
        decision="approve",
        comment=comment,
        remember=remember,
        uses=uses,
        this_run=this_run,
        state=state,
        config=config,
        as_json=json,
    )
    finish(lambda: command(options))


@approval_group.command("deny")
def deny(
    as_: AsOption,
    ids: ApprovalsArgument = None,
    run: AllOption = None,
    comment: CommentOption = "",
    state: StateOption = None,
    config: StoreConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Deny calls that wait, as a person who may.

    Ends with 1 unless all of them are decided so.

    \b
    codemode approvals deny apr_3f0c --as grace@example.com
    codemode approvals deny --all exec_35aff83a7dab --as grace@example.com
    """
    from portal.cli.commands.approvals import DecisionOptions
    from portal.cli.commands.approvals import decide as command

    options = DecisionOptions(
        ids=tuple(ids or ()),
        run=run,
        who=as_,
        decision="deny",
        comment=comment,
        state=state,
        config=config,
        as_json=json,
    )
    finish(lambda: command(options))


MOST_ROWS, MOST_SECONDS = 200, 31 * 86_400


def _limit(limit: int) -> int:
    """Raises `CommandError` for one that is none."""
    if not 1 <= limit <= MOST_ROWS:
        raise CommandError(f"--limit is 1 to {MOST_ROWS}.")
    return limit


def _word(word: str, words: tuple[str, ...]) -> str:
    """The state that is meant. Raises `CommandError` for one that there is not."""
    if word not in words:
        from portal.cli.nearest import meant

        raise CommandError(f"{word!r} is no state. {meant(word, words)}")
    return word

"""The table of all benchmarks: what is compared with what, and the bound each figure must hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OURS = "sandbox_engine"


@dataclass(frozen=True, slots=True)
class Bound:
    """Ours at most `value` times the peer's figure of the same run, or at most `value` where no peer is named.

    Where higher is better, it is at least so much.
    """

    value: float
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a case, our subject, the peers' subjects, and what must hold."""

    title: str
    case: str
    ours: str = OURS
    peers: tuple[str, ...] = ()
    bounds: tuple[Bound, ...] = ()
    higher_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    group: Literal["engine", "portal", "search", "stubs"]
    rows: tuple[Row, ...]


NATIVE, RS, MONTY, WORKERD = "native_quickjs", "quickjs_rs", "monty", "workerd"

ENGINE = Section(
    "Engine: the isolate alone, in process",
    "engine",
    (
        Row(
            "fresh isolate, `async () => 1 + 2`",
            "fresh",
            peers=(NATIVE, RS, MONTY, WORKERD),
            bounds=(Bound(0.6, NATIVE), Bound(0.08, RS)),
        ),
        Row(
            "one awaited host call, in sequence", "sequence", peers=(NATIVE, RS, MONTY, WORKERD), bounds=(Bound(25e-6),)
        ),
        Row("100 host calls in one Promise.all", "parallel_100", peers=(RS, WORKERD), bounds=(Bound(1.2e-3),)),
        Row("1 KB of rows in and out", "marshal_1kb", peers=(NATIVE, RS, MONTY)),
        Row("1 MB of rows in and out", "marshal_1mb", peers=(NATIVE, MONTY)),
        Row("fib(24)", "fib", peers=(NATIVE, RS, MONTY, WORKERD), bounds=(Bound(2.2, NATIVE),)),
        Row("memory of one suspended run, of 10,000", "suspended_10000"),
    ),
)

WASI = "quickjs_wasi"

FROZEN = Section(
    "Frozen programs: one that waits for a call becomes bytes, and a program again",
    "engine",
    tuple(
        Row(f"{title}: {what}", f"{case}_{measure}", ours="frozen", peers=peers, bounds=bounds)
        for title, case, measure, what, peers, bounds in (
            ("small", "small", "bytes", "bytes", (MONTY, WASI), (Bound(1.5, MONTY), Bound(0.1, WASI))),
            ("small", "small", "take", "freeze", (MONTY, WASI), (Bound(0.2, WASI),)),
            ("small", "small", "restore", "thaw", (MONTY, WASI), (Bound(150e-6), Bound(1.5, MONTY), Bound(0.1, WASI))),
            ("over 50 tools", "catalog", "bytes", "bytes", (), (Bound(20 * 1024),)),
            ("over 50 tools", "catalog", "take", "freeze", (), ()),
            ("over 50 tools", "catalog", "restore", "thaw", (), (Bound(300e-6),)),
            ("20,000 objects", "large", "bytes", "bytes", (MONTY, WASI), (Bound(0.25, MONTY), Bound(0.75, WASI))),
            ("20,000 objects", "large", "take", "freeze", (MONTY, WASI), (Bound(25e-3), Bound(0.9, MONTY))),
            ("20,000 objects", "large", "restore", "thaw", (MONTY, WASI), (Bound(0.5, MONTY), Bound(0.9, WASI))),
        )
    ),
)

BY_HAND, BY_HAND_POSTGRESQL = "rows_by_hand", "rows_by_hand_postgresql"

PARKED = Section(
    "Parked programs: one that waits becomes a row of SQLite, which waits for the disk, and goes on from there",
    "engine",
    (
        Row("park", "park", ours="parked"),
        Row("claim, thaw and go on to the end", "go_on", ours="parked"),
        Row("both", "both", ours="parked", peers=(BY_HAND,), bounds=(Bound(8, BY_HAND),)),
        Row(
            "both, in PostgreSQL",
            "both",
            ours="parked_postgresql",
            peers=(BY_HAND_POSTGRESQL,),
            bounds=(Bound(9, BY_HAND_POSTGRESQL),),
        ),
    ),
)

AGAIN = Section(
    "Approved after so many calls: ours goes on from its frozen bytes, the original runs the program again",
    "engine",
    (
        *(
            Row(title, f"go_on_{calls}", ours="parked", peers=("original_runtime",), bounds=bounds)
            for title, calls, bounds in (
                ("after 1 call", 1, (Bound(1, "original_runtime"),)),
                ("after 10 calls", 10, (Bound(1, "original_runtime"),)),
                ("after 100 calls", 100, (Bound(0.5, "original_runtime"),)),
            )
        ),
        *(Row(f"ours by its log, after {calls}", f"replay_{calls}", ours="parked") for calls in (10, 100)),
    ),
)

DIRECT, FASTMCP = "portal_direct", "portal_fastmcp"

WORKERS = Section(
    "Worker processes: the isolate as `serve` runs it",
    "engine",
    (
        Row("fresh isolate in a worker, from asyncio", "fresh", ours="workers", peers=(RS, MONTY, WORKERD)),
        Row(
            "event loop late, p99, every worker burning CPU",
            "stall_p99",
            ours="workers",
            bounds=(Bound(10e-3),),
        ),
        Row(
            "a newcomer's first program behind 64 hostile ones of one person, p90",
            "newcomer",
            ours="crowd",
            bounds=(Bound(250e-3),),
        ),
    ),
)

HOSTILE = Section(
    "Hostile servers and strangers: how late the event loop is",
    "portal",
    (
        Row("event loop late, p99, hostile answers", "answers_p99", ours="hostile", bounds=(Bound(20e-3),)),
        Row("event loop late, p99, hostile bodies", "bodies_p99", ours="hostile", bounds=(Bound(20e-3),)),
    ),
)

BM25 = "retrieval_bm25"

LARGE = Section(
    "Catalog of 2,747 tools",
    "search",
    (
        Row("one search", "search", ours="catalog_large", peers=(BM25,), bounds=(Bound(0.2e-3),)),
        Row(
            "one search by 300 characters of a task",
            "search_300",
            ours="catalog_large",
            peers=(BM25,),
            bounds=(Bound(3e-3),),
        ),
        Row(
            "description, search and describe of two, at most",
            "three_steps",
            ours="catalog_large",
            bounds=(Bound(1_500),),
        ),
        Row("fresh isolate that knows all tools", "preload_2747", ours="catalog_large"),
        Row("build catalog, index and names", "build", ours="catalog_large"),
        Row("build it and write all declarations", "declarations", ours="catalog_large"),
    ),
)

LISTED, ORIGINAL = "declared_list", "declared_original"

DECLARED = Section(
    "Declarations: what a model reads of all tools of a server",
    "stubs",
    (
        Row(
            "135 tools of 11 published servers",
            "tokens_published",
            ours="declared_text",
            peers=(LISTED, ORIGINAL),
            bounds=(Bound(0.5, LISTED), Bound(0.7, ORIGINAL)),
        ),
        Row(
            "2,747 operations of a large API",
            "tokens_large",
            ours="declared_text",
            peers=(LISTED, ORIGINAL),
            bounds=(Bound(0.8, LISTED), Bound(0.5, ORIGINAL)),
        ),
        Row(
            "52 tools of three described parameters",
            "tokens_synthetic",
            ours="declared_text",
            peers=(LISTED, ORIGINAL),
            bounds=(Bound(0.9, LISTED), Bound(0.55, ORIGINAL)),
        ),
    ),
)

FOUND = Section(
    "Search by what people say; a third of the intents is held out",
    "search",
    tuple(
        Row(
            f"{over}: {title}",
            f"{name}_{measure}",
            ours="catalog_large",
            bounds=(Bound(least),) if measure == "hit_at_5" else (),
            higher_is_better=True,
        )
        for over, name, least in (("2,747 tools", "large", 0.92), ("eight servers", "real", 0.95))
        for title, measure in (
            ("right tool first", "hit_at_1"),
            ("right tool in the first five", "hit_at_5"),
            ("mean of 1/place", "mrr"),
        )
    ),
)

SEARCHED, AS_LISTED = "task_searched", "task_listed"

TASKS = Section(
    "Completed tasks: tokens of one call, from the description to the answer",
    "search",
    (
        *(
            Row(
                f"{size} tools, {how}",
                f"task_{counted}_{size}",
                ours=SEARCHED,
                peers=(AS_LISTED,),
                bounds=(Bound(most, AS_LISTED),),
            )
            for counted, how in (("once", "each text once"), ("read", "as read over all turns"))
            for size, most in ((10, 0.5), (30, 0.2), (100, 0.05), (200, 0.03))
        ),
        Row("fewest tools of which searching costs no more than listing", "even_listed", SEARCHED, bounds=(Bound(8),)),
        Row(
            "declarations that cost as much as finding a tool",
            "even_declared",
            SEARCHED,
            bounds=(Bound(250),),
            higher_is_better=True,
        ),
        Row("declarations for which the description has room", "room_to_declare", SEARCHED, bounds=(Bound(250),)),
    ),
)

MEANING = "retrieval_meaning"

FOREIGN = Section(
    "Search on data nobody here wrote",
    "search",
    tuple(
        Row(
            f"{over}: {title}",
            f"{part}_{measure}",
            ours="retrieval_ours",
            peers=(BM25, MEANING),
            bounds=(Bound(least, BM25),),
            higher_is_better=True,
        )
        for over, part, least in (
            ("StableToolBench", "stabletoolbench", 1.0),
            ("LiveMCPBench, tasks", "livemcpbench_tasks", 1.0),
            # There are 30 of them: the standard error of a share is 0.09, and BM25's is about 0.75.
            ("LiveMCPBench, steps", "livemcpbench_steps", 0.88),
            ("MetaTool", "metatool", 1.0),
        )
        for title, measure in (
            ("a right tool in the first five", "hit_at_5"),
            ("nDCG of the first ten", "ndcg_at_10"),
            ("every right tool in the first ten", "all_at_10"),
        )
    ),
)

PORTAL = Section(
    "Portal over HTTP, one SDK client, latency",
    "portal",
    (
        Row(
            "`code` returning a constant / a plain tool direct",
            "constant",
            ours="portal_ours",
            peers=(DIRECT, FASTMCP),
            bounds=(Bound(1.5, DIRECT),),
        ),
        Row("a plain tool through the portal", "plain_call", ours="portal_ours", peers=(DIRECT,)),
        Row("a program of 1 call / that call direct", "one_call", ours="portal_ours", peers=(DIRECT, FASTMCP)),
        Row(
            "a program of 10 calls / those 10 direct",
            "ten_calls",
            ours="portal_ours",
            peers=(DIRECT, FASTMCP),
            bounds=(Bound(0.8, DIRECT),),
        ),
    ),
)

LOAD = Section(
    "Portal under load: `code` returning a constant, requests a second",
    "portal",
    tuple(
        Row(
            f"{clients} client{'s' if clients > 1 else ''}",
            f"constant_{clients}",
            ours="portal_ours",
            peers=(DIRECT, FASTMCP),
            higher_is_better=True,
        )
        for clients in (1, 16, 64)
    ),
)

POLICIES = Section(
    "Access policies: who may do what",
    "portal",
    (
        Row("a decision of 20 policies, the last matches", "decide_20", ours="policies", bounds=(Bound(30e-6),)),
        Row("a program's call admitted", "admit", ours="policies"),
    ),
)

LOGS = Section(
    "The log of calls",
    "portal",
    (
        Row("a row, on the path of its call", "row", ours="logs", bounds=(Bound(20e-6),)),
        Row("the same without a log", "row_line", ours="logs"),
        Row("with its place in a trace, and counted", "row_observed", ours="logs"),
        Row("storing it, in a thread", "row_stored", ours="logs"),
        Row(
            "a plain call with a log / without",
            "plain_call",
            ours="logs",
            peers=("portal_ours",),
            bounds=(Bound(1.1, "portal_ours"),),
        ),
    ),
)

MANY = Section(
    "Many callers and portals over 20 servers of 50 tools",
    "portal",
    (
        Row(
            "memory of 2,000 callers with different tools, over one's",
            "views_memory",
            ours="many",
            bounds=(Bound(100 * 2**20),),
        ),
        Row(
            "a caller's first program over the second, searching",
            "views_first",
            ours="many",
            bounds=(Bound(5e-3),),
        ),
        Row("memory of 100 portals, over one's", "portals_memory", ours="many", bounds=(Bound(60e6),)),
        Row("a request to one of 100 portals / to one alone", "portals_request", ours="many", bounds=(Bound(1.2),)),
    ),
)

CHECKS = Section(
    "Checks before the run: a typical program, 50 tools",
    "search",
    (
        Row("the look every program gets", "quick_look", ours="checks", bounds=(Bound(2e-3),)),
        Row("a mistake found without a compiler", "certain", ours="checks"),
        Row("its types, by TypeScript's compiler", "types_50", ours="checks", bounds=(Bound(150e-3),)),
    ),
)

SECTIONS: tuple[Section, ...] = (
    *(
        ENGINE,
        FROZEN,
        PARKED,
        AGAIN,
        WORKERS,
        LARGE,
        FOUND,
        FOREIGN,
        DECLARED,
        TASKS,
        CHECKS,
        POLICIES,
        LOGS,
        PORTAL,
        MANY,
        LOAD,
        HOSTILE,
    ),
)

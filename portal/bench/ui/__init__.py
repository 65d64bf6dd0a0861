"""The bench as a page on this machine: write a program against the servers' types, run it, and see its calls."""

from portal.bench.ui.access import new_token, page_url
from portal.bench.ui.app import create_bench_app
from portal.bench.ui.bench import BenchPage, InitialContent
from portal.bench.ui.cost import Cost, listing_cost, run_cost
from portal.bench.ui.editor import MONACO, EditorUnavailable, editor_cache, install
from portal.bench.ui.watch import FinishedCall

__all__ = [
    "MONACO",
    "BenchPage",
    "Cost",
    "EditorUnavailable",
    "FinishedCall",
    "InitialContent",
    "create_bench_app",
    "editor_cache",
    "install",
    "listing_cost",
    "new_token",
    "page_url",
    "run_cost",
]

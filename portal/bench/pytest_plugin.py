"""The pytest fixture `codemode`: runs programs in the same isolates as a portal, with mocks.

    def test_the_report(codemode):
        result = codemode.run("return await codemode.shop.count()", mocks={"shop.count": {"result": {"total": 3}}})
        assert result.value == {"total": 3} and result.calls[0].tool == "shop.count"

Heavy modules are imported when the fixture is first used: a suite without it pays only for this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from portal.bench.blocking import BlockingBench, Codemode


@pytest.fixture(scope="session")
def _codemode_bench() -> Iterator[BlockingBench]:
    from portal.bench.blocking import BlockingBench  # noqa: PLC0415  see above

    with BlockingBench() as bench:
        yield bench


@pytest.fixture
def codemode(_codemode_bench: BlockingBench, request: pytest.FixtureRequest) -> Codemode:
    """Runs programs: `codemode.run(source, mocks=..., tools=..., input=..., replay=...)`.

    Relative paths start at the folder of the test's file.
    """
    from portal.bench.blocking import Codemode  # noqa: PLC0415  see above

    return Codemode(_codemode_bench, request.path.parent)

"""The example of the chapter does what the chapter shows."""

import contextlib
import io
import re
from pathlib import Path

import stubs


def test_the_example_prints_what_stands_below_it() -> None:
    chapter = (Path(stubs.__file__).parent / "README.md").read_text(encoding="utf-8")
    program = re.search(r"```python\n(.*?)```", chapter, re.DOTALL)
    shown = re.search(r"```ts\n(.*?)```", chapter, re.DOTALL)
    assert program and shown
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(program[1], {})
    assert printed.getvalue().split() == shown[1].split()

"""The examples of the chapter do what the chapter shows."""

import contextlib
import io
import re
from pathlib import Path

import stubs


def test_each_example_prints_what_stands_below_it() -> None:
    chapter = (Path(stubs.__file__).parent / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```\s*```ts\n(.*?)```", chapter, re.DOTALL)
    assert len(examples) == chapter.count("```python") == 2
    for program, shown in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(program, {})
        assert printed.getvalue().split() == shown.split()

"""The README's example runs as it stands and prints what it says; its tables name every limit and error."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import sandbox
from sandbox import Limits
from tests.patience import PATIENCE

README = Path(__file__).parents[2] / "sandbox" / "README.md"


def test_the_example_prints_what_the_readme_says() -> None:
    text = README.read_text(encoding="utf-8")
    example, promised = re.search(r"```python\n(.*?)```\n\nprints `(.*?)`\.", text, re.DOTALL).groups()  # type: ignore[union-attr]
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.stdout.strip() == promised, done.stderr


def test_every_limit_and_its_default_is_in_the_table() -> None:
    text = README.read_text(encoding="utf-8")
    for field in fields(Limits):
        if field.init:
            assert f"`{field.name}`" in text, field.name


def test_every_error_is_in_the_tree() -> None:
    text = README.read_text(encoding="utf-8")
    exported = [getattr(sandbox, name) for name in sandbox.__all__]
    errors = [each for each in exported if isinstance(each, type) and issubclass(each, sandbox.SandboxError)]
    assert len(errors) > 15
    assert [error.__name__ for error in errors if error.__name__ not in text] == []

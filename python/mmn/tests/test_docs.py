"""What the documentation says is run: each block of Python, and where a block of text follows, that is what it prints."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib.util
import inspect
import io
import os
import pathlib
import re
import types
from collections.abc import Iterator

import pytest

from .conftest import ROOT, Up

PAGES = [ROOT / "README.md", ROOT / "docs/guides/python.md", ROOT / "docs/llms.txt"]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def blocks(page: pathlib.Path) -> Iterator[tuple[int, str, str | None]]:
    text = page.read_text()
    # What the API's part of llms.txt shows of docstrings is no program.
    text = text.split("## The whole API")[0]
    for found in BLOCK.finditer(text):
        yield text.count("\n", 0, found.start()) + 2, found[1], found[2]


def run(page: pathlib.Path, line: int, source: str, known: dict[str, object]) -> str:
    """What a block prints. It may await, as in a notebook; an error tells the line of the page."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile("\n" * (line - 1) + source, str(page), "exec", flags=flags, dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(types.FunctionType(code, known)())
        else:
            exec(code, known)
    return out.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_pages_show_is_so(page: pathlib.Path, up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMN_DATA", str(up.data))
    known: dict[str, object] = {"__name__": "__main__"}
    shown = list(blocks(page))
    assert shown
    for line, source, expected in shown:
        printed = run(page, line, source, known)
        if expected is not None:
            assert printed == expected, f"{page}:{line}"


def test_pages_are_what_the_sources_make() -> None:
    file = ROOT / "python/mmn/docs.py"
    spec = importlib.util.spec_from_file_location("docs", file)
    assert spec is not None and spec.loader is not None
    docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(docs)
    stale = [os.path.relpath(path, ROOT) for path in docs.stale()]
    assert not stale, f"{', '.join(stale)}: run python/mmn/docs.py"


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "docs/reference/python.md"]:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert "://" in link or (page.parent / link).exists(), f"{page}: {link}"

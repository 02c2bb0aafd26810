"""Runs the Python of a Markdown page, and compares what it prints with what the page says that it prints.

Blocks marked ``python`` run in their order, in one namespace: a reader's session. Where the next block is marked
``text``, it is all that the one before it prints; else that prints nothing. Blocks of other languages are left alone.

A block below a line that ends with a link and a colon, as in ``from [`cell.py`](../impls/torch/cell.py):``, is quoted:
its lines stand in that file, one after another, indented as a whole or not. It is not run.
"""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import pairwise
from textwrap import dedent
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FENCED = re.compile(
    r"(?:\]\((?P<source>[^)\s]+)\):[ ]*\n+)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```[ ]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what is in it, the line of the page on which that begins, and the file quoted."""

    language: str
    text: str
    line: int
    source: str | None = None


def blocks(page: str) -> list[Block]:
    """Every fenced block of a page."""
    return [
        Block(match["language"], match["text"], page.count("\n", 0, match.start("text")) + 1, match["source"])
        for match in FENCED.finditer(page)
    ]


def examples(page: str) -> Iterator[tuple[Block, str]]:
    """Every Python block that is to run, with what it has to print."""
    for block, following in pairwise([*blocks(page), Block("", "", 0)]):
        if block.language == "python" and block.source is None:
            yield block, following.text if following.language == "text" else ""


def run_page(path: Path) -> None:
    """Run the page; fail, with its line, where a block raises or prints something else, or where nothing is to run."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for block, expected in examples(path.read_text(encoding="utf-8")):
        count += 1
        code = compile("\n" * (block.line - 1) + block.text, str(path), "exec")  # a traceback has the page's lines
        with redirect_stdout(io.StringIO()) as printed:
            exec(code, namespace)
        actual = printed.getvalue()
        assert actual == expected, f"{path.name}:{block.line} prints\n{actual}\nwhere the page has\n{expected}"
    assert count, f"{path.name} has no Python to run"


def check_quotes(path: Path) -> None:
    """Fail, with the page's line, where a quoted block is not in its file, or has an output, for it is not run."""
    for block, following in pairwise([*blocks(path.read_text(encoding="utf-8")), Block("", "", 0)]):
        if block.source is not None:
            here = f"{path.name}:{block.line}"
            source = path.parent / block.source
            assert source.is_file(), f"{here} quotes {block.source}, which is no file"
            assert has(source.read_text(encoding="utf-8"), block.text), f"{here} is not in {block.source}\n{block.text}"
            assert following.language != "text", f"{here} is quoted and not run, but an output stands below it"


def has(text: str, quoted: str) -> bool:
    """Whether the quoted lines stand in the text, one after another, indented as a whole or not."""
    lines, wanted = text.splitlines(), dedent(quoted).splitlines()
    starts = range(len(lines) - len(wanted) + 1)
    return any(wanted) and any(
        dedent("\n".join(lines[start : start + len(wanted)])).splitlines() == wanted for start in starts
    )

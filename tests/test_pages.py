"""Pages with Python in them do what they say; and the helper that finds that out sees a page that does not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from support.frameworks import need
from support.pages import blocks, check_quotes, run_page
from support.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = {"widening.md": ("torch",), "walkthrough.md": ("torch", "thinc", "jax", "optax")}
"""Name in ``docs/`` to what it imports."""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_prints_what_it_says(name: str) -> None:
    for framework in PAGES[name]:
        need(framework)
    run_page(ROOT / "docs" / name)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_a_page_quotes_what_stands_in_the_file(page: Path) -> None:
    check_quotes(page)


WRITTEN = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    ROOT / "results" / "README.md",
    ROOT / "studies" / "what_holds.md",
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", sorted(WRITTEN), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_into_the_repository_is_relative_and_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not re.match(r"https?://|mailto:", target):
            assert not target.startswith("/"), target
            name, _, heading = target.partition("#")
            path = page.parent / name if name else page
            assert path.exists(), f"{page.name}: {target}"
            assert not heading or heading in headings(path), f"{page.name}: {target}"


def headings(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_contributing_names_what_checks_it() -> None:
    words = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"test_\w+(?!\.py)\b(?!\.)", words)
    tests = (ROOT / "tests" / "publish" / "test_published.py").read_text(encoding="utf-8")
    assert named and all(f"def {name}(" in tests for name in named)


def test_the_walkthrough_quotes_every_framework() -> None:
    page = (ROOT / "docs" / "walkthrough.md").read_text(encoding="utf-8")
    quoted = {block.source for block in blocks(page) if block.source}
    assert quoted >= {f"../impls/{row}.py" for row in ("torch/module", "torch/cell", "thinc/layers", "jax/scan")}


def test_every_page_with_python_in_it_is_run() -> None:
    with_python = {
        path.name
        for path in (ROOT / "docs").glob("*.md")
        if any(block.language == "python" for block in blocks(path.read_text(encoding="utf-8")))
    }
    assert with_python == set(PAGES)


RIGHT = """A page.

```python
x = 1
```

```sh
not run
```

```python
print(x)
x += 1
print(x)
```

That is:

```text
1
2
```
"""


def written(text: str, folder: Path) -> Path:
    path = folder / "page.md"
    path.write_text(text)
    return path


def test_a_page_is_one_session_and_other_languages_are_left_alone(tmp_path: Path) -> None:
    run_page(written(RIGHT, tmp_path))


WRONG = {
    "another output": (RIGHT.replace("1\n2\n", "1\n3\n"), r"page\.md:12 prints\n1\n2\n\nwhere the page has\n1\n3\n"),
    "output cut short": (RIGHT.replace("1\n2\n", "1\n"), r"page\.md:12 prints"),
    "output left out": (RIGHT.replace("```text\n1\n2\n```\n", ""), r"page\.md:12 prints"),
    "output of silent code": (RIGHT.replace("```sh", "```text"), r"page\.md:4 prints\n\nwhere the page has\nnot run"),
    "nothing to run": ("A page.\n", r"page\.md has no Python to run"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_page_is_caught_with_its_line(what: str, tmp_path: Path) -> None:
    text, words = WRONG[what]
    with pytest.raises(AssertionError, match=words):
        run_page(written(text, tmp_path))


def test_a_block_that_raises_has_the_line_of_the_page(tmp_path: Path) -> None:
    with pytest.raises(NameError) as caught:
        run_page(written(RIGHT.replace("x += 1", "nowhere += 1"), tmp_path))
    assert caught.traceback[-1].lineno + 1 == 13
    assert caught.traceback[-1].path.name == "page.md"


QUOTED = """A page.

**A row**, from [`row.py`](row.py):

```python
def load():
    x = 1

    return x
```

And from [its middle](row.py):

```python
x = 1

return x
```
"""

ROW = """class Row:
    def load():
        x = 1

        return x
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file to quote from."""
    (tmp_path / "row.py").write_text(ROW)
    return tmp_path


def test_a_quote_may_be_indented_otherwise_as_a_whole_and_is_not_run(folder: Path) -> None:
    page = written(QUOTED + RIGHT, folder)
    check_quotes(page)
    run_page(page)  # "return x" would not compile


MISQUOTED = {
    "another line": (QUOTED.replace("x = 1\n\nreturn x", "x = 2\n\nreturn x"), r"page\.md:15 is not in row\.py\nx = 2"),
    "a line left out": (QUOTED.replace("    x = 1\n\n    return", "    return"), r"page\.md:6 is not in row\.py"),
    "lines that stand apart": (
        QUOTED.replace("x = 1\n\nreturn x", "x = 1\nreturn x"),
        r"page\.md:15 is not in row\.py",
    ),
    "part of a line": (QUOTED.replace("x = 1\n\nreturn x", "return"), r"page\.md:15 is not in row\.py"),
    "indented otherwise in part": (QUOTED.replace("    return x", "return x"), r"page\.md:6 is not in row\.py"),
    "nothing": (QUOTED.replace("x = 1\n\nreturn x\n", ""), r"page\.md:15 is not in row\.py"),
    "no such file": (
        QUOTED.replace("middle](row.py", "middle](raw.py"),
        r"page\.md:15 quotes raw\.py, which is no file",
    ),
    "an output": (QUOTED + "\n```text\n1\n```\n", r"page\.md:15 is quoted and not run, but an output stands below"),
}


@pytest.mark.parametrize("what", MISQUOTED)
def test_a_wrong_quote_is_caught_with_its_line(what: str, folder: Path) -> None:
    text, words = MISQUOTED[what]
    with pytest.raises(AssertionError, match=words):
        check_quotes(written(text, folder))


def test_a_row_that_has_changed_is_caught(folder: Path) -> None:
    page = written(QUOTED, folder)
    check_quotes(page)
    (folder / "row.py").write_text(ROW.replace("x = 1", "x = 2"))
    with pytest.raises(AssertionError, match=r"page\.md:6 is not in row\.py"):
        check_quotes(page)


@pytest.mark.parametrize("shape", ["torch.Size([5, 3, 40])", "(80, 10)"])
def test_the_walkthrough_with_a_wrong_shape_is_caught(shape: str, tmp_path: Path) -> None:
    for framework in PAGES["walkthrough.md"]:
        need(framework)
    text = (ROOT / "docs" / "walkthrough.md").read_text(encoding="utf-8")
    wrong = shape.replace("0", "1", 1)
    with pytest.raises(AssertionError, match=rf"(?s)page\.md:\d+ prints.*{re.escape(shape)}.*has.*{re.escape(wrong)}"):
        run_page(written(text.replace(shape, wrong, 1), tmp_path))

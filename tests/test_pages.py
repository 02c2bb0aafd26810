"""Pages with Python in them do what they say; and the helper that finds that out sees a page that does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from frameworks import need
from pages import blocks, run_page
from processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGES = {"widening.md": "torch"}
"""Name in ``docs/`` to the framework that it imports."""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_prints_what_it_says(name: str) -> None:
    need(PAGES[name])
    run_page(ROOT / "docs" / name)


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

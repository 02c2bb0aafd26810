"""A real Chromium that opens pages from the disk, and notes what it complains of and asks for."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

PATIENCE_MS = 10_000
"""What is there is found at once; what is not is missed so soon."""

DRAWN_MS = 60_000
"""A page has so long to draw: machines are busy. How long it takes is measured where that is asked."""


CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""What a system calls it."""

HOW = "no Chromium here: `apt install chromium`, or `python -m playwright install --with-deps chromium`, brings one"


def find_chromium(playwrights: str) -> str | None:
    """A Chromium on the path, else the one that Playwright has fetched, else None; ``playwrights``: where that is."""
    system = next((found for name in CHROMIUMS if (found := shutil.which(name))), None)
    return system or (playwrights if Path(playwrights).exists() else None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A real one; where there is none, the tests are skipped, and fail where CI is set."""
    with sync_playwright() as playwright:
        path = find_chromium(playwright.chromium.executable_path)
        if path is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(HOW)
        # without a sandbox of its own, since root has none; it opens nothing but what the tests have made
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass(slots=True)
class Opened:
    """A page that is open, and what has been heard of it."""

    page: Page
    drawings: int = 0
    complaints: list[str] = field(default_factory=list)
    """Errors, on the console or thrown."""
    asked_for: list[str] = field(default_factory=list)
    """Addresses beside the page's own."""

    def drawn(self) -> None:
        """Wait until all charts are drawn once more."""
        self.drawings += 1
        self.page.wait_for_selector(f'body[data-drawn="{self.drawings}"]', state="attached", timeout=DRAWN_MS)

    def choose(self, name: str, value: str) -> None:
        """Set a filter, and wait for the charts."""
        self.page.get_by_label(name, exact=True).select_option(value)
        self.drawn()

    def column(self, name: str) -> list[str]:
        """What stands in a column of the table, from top to bottom."""
        heads = self.page.locator("#table thead th").all_inner_texts()
        place = [head.strip() for head in heads].index(name)
        return self.page.locator(f"#table tbody tr > :nth-child({place + 1})").all_inner_texts()

    def marks(self, chart: str) -> list[str]:
        """What the points or bars of a chart say of themselves."""
        found = self.page.locator(f"#{chart} svg :is([aria-roledescription='point'], [aria-roledescription='bar'])")
        said: list[str] = found.evaluate_all("all => all.map(one => one.ariaLabel)")
        return said


@contextmanager
def opened(browser: Browser, path: Path, **settings: Any) -> Iterator[Opened]:
    """The page in a window of its own, all charts drawn. At the end nothing may have gone wrong or outside."""
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | settings))
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    found = Opened(page)
    page.on("console", lambda said: found.complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    own = path.resolve().as_uri()
    page.on("request", lambda asked: None if asked.url == own else found.asked_for.append(asked.url))
    page.goto(own)
    found.drawn()
    try:
        yield found
    finally:
        context.close()
    assert not found.complaints, f"complained of: {found.complaints}"
    outside = [url for url in found.asked_for if not url.startswith(("blob:", "data:"))]
    assert not outside, f"asked for: {outside}"

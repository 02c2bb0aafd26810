"""A real Chromium that opens pages from the disk, and notes what it complains of and asks for."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Error, sync_playwright
from test_noxfile import load_noxfile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

PATIENCE_MS = 10_000
"""What is there is found at once; what is not is missed so soon."""

DRAWN_MS = 60_000
"""A page has so long to draw: machines are busy. How long it takes is measured where that is asked."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, or the one that Playwright has installed; where there is neither, the tests fail."""
    path = next((found for name in load_noxfile().CHROMIUMS if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        try:
            # without a sandbox of its own, since root has none; it opens nothing but what the tests have made
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error as error:
            ways = "`apt install chromium`, or `playwright install --with-deps chromium`"
            pytest.fail(f"no Chromium that starts: {ways} ({error.message[:300]})")
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

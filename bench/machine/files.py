"""Reads the small texts in which Linux describes itself. What is not there is ``None``, never an error."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def read(path: Path) -> str | None:
    """What the file holds, without the space around it; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return None


def there(path: Path) -> bool:
    """Whether there is such a file or folder, as far as it may be looked at."""
    return os.path.exists(path)  # noqa: PTH110  # Path.exists raises where it may not


def match(pattern: str, text: str | None) -> str | None:
    """The first group of the pattern where it is first found; None where it is not."""
    found = re.search(pattern, text or "", flags=re.MULTILINE)
    return found[1] if found else None


def number(text: str | None) -> float | None:
    """The finite number that a text stands for; None where it stands for none."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def words(paths: Iterable[Path]) -> str | None:
    """The different words that the files hold; one that is no plain word is ``other``."""
    held = {read(path) or "" for path in paths} - {""}
    plain = {word if re.fullmatch(r"[a-z0-9_-]{1,32}", word) else "other" for word in held}
    return ", ".join(sorted(plain)) or None

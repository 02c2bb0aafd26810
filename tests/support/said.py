"""What a generated file says, apart from how it is drawn: two may be of other versions of the libraries that draw."""

from __future__ import annotations

import base64
import gzip
import json
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

NEAR = 1e-4
"""The last of a page's six digits differs from processor to processor."""


def said(path: Path, text: str) -> Any:
    """All of a text; of a page what it knows, its raw files and its own script; of a picture its words."""
    if path.suffix == ".html":
        frame = re.sub(r"<script.*?</script>|<meta http-equiv.*?>", "", text, flags=re.DOTALL)
        return [embedded(text, "data"), raw_files(text), frame, text.rpartition("<script>")[2]]
    if path.suffix == ".svg":
        return sorted(re.findall(r"<text[^>]*>([^<]+)<", text))
    return text


def embedded(html: str, name: str) -> Any:
    """The JSON that stands in the page under this name."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])


def raw_files(html: str) -> dict[str, str]:
    """Name to SHA-256 of the raw files in the page: two versions of zlib pack them in two ways."""
    packed = re.findall(r'<script type="application/octet-stream" id="([^"]+)">(.*?)</script>', html)
    return {name: sha256(gzip.decompress(base64.b64decode(data))).hexdigest() for name, data in packed}


def alike(ours: Any, theirs: Any) -> bool:
    """Whether two say the same, numbers being `NEAR`."""
    match ours, theirs:
        case dict(), dict():
            return list(ours) == list(theirs) and all(alike(ours[name], theirs[name]) for name in ours)
        case list(), list():
            return len(ours) == len(theirs) and all(map(alike, ours, theirs))
        case float() | int(), float() | int():
            return bool(ours == pytest.approx(theirs, rel=NEAR, abs=1e-12))
    return bool(ours == theirs)

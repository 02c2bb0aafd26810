"""What this process may have: processor time and memory, within its control groups and its own limits (``ulimit``).

And what reads the small texts in which Linux says so: what is not there is ``None``, never an error.
"""

from __future__ import annotations

import math
import os
import re
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

LEAST_ADDRESS_SPACE_BYTES = 2**30
"""The libraries that judge and draw take half of that."""

LEAST_FILES = 32
"""Three of them for each worker that is alive, and a dozen for this program."""


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


def quota(root: Path) -> float | None:
    """Processors by control group; infinite where none sets a limit."""
    folders = _control_groups(root, "cpu")
    limits = [math.inf] if folders else []
    for folder in folders:
        text = read(folder / "cpu.max") or f"{read(folder / 'cpu.cfs_quota_us')} {read(folder / 'cpu.cfs_period_us')}"
        share, period = (number(word) or 0.0 for word in [*text.split(), "", ""][:2])
        if share > 0 and period > 0:
            limits.append(share / period)
    return min(limits, default=None)


def available_bytes(root: Path = Path("/")) -> int:
    """Memory that can be had without swapping, within every control group's limit; files in memory count as free."""
    free = [int(psutil.virtual_memory().available)]
    for folder in _control_groups(root, "memory"):
        limit = number(read(folder / "memory.max") or read(folder / "memory.limit_in_bytes"))
        used = number(read(folder / "memory.current") or read(folder / "memory.usage_in_bytes"))
        if limit is not None and used is not None:
            stat = read(folder / "memory.stat")
            cache = match(r"^total_inactive_file (\d+)", stat) or match(r"^inactive_file (\d+)", stat) or "0"
            free.append(int(limit - used) + int(cache))
    return max(0, min(free))


def available_to_a_process() -> int:
    """Of that, what a single process can have within its own limits."""
    own = (process_limit(kind) for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return min([available_bytes(), *(limit for limit in own if limit is not None)])


def process_limit(kind: int) -> int | None:
    """This process's own limit of a kind, such as ``RLIMIT_AS`` in bytes; None where it has none."""
    limit, _ = resource.getrlimit(kind)
    return None if limit == resource.RLIM_INFINITY else limit


def too_low() -> str | None:
    """Which limit is so low that this program cannot run at all; None where none is."""
    space, files = process_limit(resource.RLIMIT_AS), process_limit(resource.RLIMIT_NOFILE)
    if space is not None and space < LEAST_ADDRESS_SPACE_BYTES:
        have, need = space / 2**30, LEAST_ADDRESS_SPACE_BYTES / 2**30
        return f"a process may have {have:.1f} GiB of address space here (ulimit -v), and {need:.0f} GiB are needed"
    if files is not None and files < LEAST_FILES:
        return f"a process may have {files} files open here (ulimit -n), and {LEAST_FILES} are needed"
    return None


def lower(kind: int, soft: int, hard: int) -> None:
    """Lower this process's limits of a kind. One that is lower already stays: not everybody may raise it."""
    new = [
        wanted if old == resource.RLIM_INFINITY else min(wanted, old)
        for wanted, old in zip((soft, hard), resource.getrlimit(kind), strict=True)
    ]
    resource.setrlimit(kind, (new[0], new[1]))


def _control_groups(root: Path, controller: str) -> list[Path]:
    """The folders that limit this process, its own and all above it, in either version of control groups.

    In a container the path may be the host's while the folders are the container's: those that do not exist are left
    out, and the topmost always counts.
    """
    mounted = root / "sys/fs/cgroup"
    folders: dict[Path, None] = {}
    for line in (read(root / "proc/self/cgroup") or f"0::/\n1:{controller}:/").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            bases = [mounted, mounted / "unified"]
        elif controller in controllers.split(","):
            bases = [mounted / controllers, mounted / controller]
        else:
            continue
        names = [name for name in path.split("/") if name]
        depths = range(0 if ".." in names else len(names), -1, -1)
        folders |= {base.joinpath(*names[:depth]): None for base in bases for depth in depths}
    return [folder for folder in folders if there(folder)]

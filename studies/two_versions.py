"""Whether this version says of every published result what another did: ``python -m studies.two_versions REVISION``.

A rebuilding of the harness changes no median, ratio or verdict: both versions make the table of each result, as JSON.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.here import ROOT


def table(tree: Path, result: Path) -> bytes:
    """What the version of the harness in that tree says of a result."""
    command = [sys.executable, "-m", "bench", "table", str(result), "--format", "json"]
    return subprocess.run(command, cwd=tree, capture_output=True, check=True).stdout


def differing(revision: str) -> tuple[list[str], int]:
    """The published results whose tables differ, and how many were compared.

    Raises:
        CalledProcessError: there is no such revision, or one of the versions cannot read a result.
    """
    results = sorted(path.parent.relative_to(ROOT) for path in ROOT.glob("results/*/run.json"))
    with TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), revision], cwd=ROOT, check=True)
        try:
            (tree / "results").rename(tree / "theirs")
            (tree / "results").symlink_to(ROOT / "results")
            return [f"{one}" for one in results if table(tree, one) != table(ROOT, one)], len(results)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m studies.two_versions REVISION")
    differ, compared = differing(sys.argv[1])
    print(*differ, sep="\n")
    print(f"{compared - len(differ)} of {compared} results have the same table")
    sys.exit(bool(differ))

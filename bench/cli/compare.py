"""``bench compare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from bench.analysis.analysis import Analysis
from bench.analysis.compare import compare as compare_results
from bench.cli.main import stdout
from bench.here import as_typed
from bench.records.store import read_result
from bench.report import comparison as report
from bench.report import export
from impls.contract import InvalidInput


def compare(
    old: Path,
    new: Path,
    /,
    *,
    style: Annotated[Literal["text", "markdown", "json"], Parameter(name="--format")] = "text",
    fail_on: Literal["slower"] | None = None,
) -> int:
    """Show what changed from one result to another, cell by cell.

    Some examples:
      python -m bench compare results/local/2026-01-31T12-00-00 results/local/2026-02-01T12-00-00
      python -m bench compare before after --format markdown
      python -m bench compare before after --fail-on slower

    Parameters
    ----------
    old
        The result folder that is compared with.
    new
        The result folder that is compared.
    style
        text, markdown or json.
    fail_on
        slower: exit with 1 if any cell is SLOWER or lost its time, with 2 if no cell has a verdict or a run is not to
        be trusted. UNCLEAR never fails, nor does a cell that the newer run did not measure.
    """
    comparison = compare_results(Analysis(read_result(old)), Analysis(read_result(new)))
    match style:
        case "text":
            stdout().print(*report.render(comparison), sep="\n")
        case "markdown":
            sys.stdout.write(report.to_markdown(comparison))
        case "json":
            sys.stdout.write(export.to_json(report.change_rows(comparison)))
            for doubt in report.doubts(comparison):
                print(f"bench: {as_typed(doubt)}", file=sys.stderr)
    if fail_on is None:
        return 0
    if not comparison.worse and not any(one.verdict for one in comparison.cells):
        raise InvalidInput(
            "--fail-on slower: no cell has a verdict, so nothing can be said; compare longer runs of one machine"
        )
    if untrusted := comparison.untrusted:
        raise InvalidInput(
            f"--fail-on slower: {' and '.join(untrusted)} may not be trusted: its baseline differs from itself"
        )
    return 1 if comparison.worse else 0

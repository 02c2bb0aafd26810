"""The part of README that is made of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.analysis.analysis import Analysis
from bench.report import markdown
from bench.report.featured import TASKS_OF_README, is_readmes
from bench.report.rows import table_rows
from bench.report.sentence import sentence
from bench.report.words import about_control
from bench.units import duration
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from bench.publish.kinds import Repository

START, END = "<!-- results: made by `python -m bench publish`, not by hand -->", "<!-- end of results -->"


def with_table(repository: Repository, analysis: Analysis, error_rate: str) -> str:
    """The README with the result's sentence and tables between its marks.

    Raises:
        InvalidInput: the README has no marks.
    """
    result = analysis.result
    readme = repository.readme.read_text(encoding="utf-8")
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise InvalidInput(f"{repository.readme.name}: has no place for the results, between {START!r} and {END!r}")
    rows = table_rows([analysis])
    one = [row for row in rows if is_readmes(row)]
    tables = "\n".join(markdown.short(one, task) for task in TASKS_OF_README)
    cells = analysis.cells.values()
    shown = [one for one in cells if is_readmes(one.cell) and one.cell.task in TASKS_OF_README]
    compared = [one for one in cells if one.is_compared and is_readmes(one.cell)]
    said = sentence(shown, result.run, f"{result.run.environment.cpu} with one thread")
    full = (result.path / markdown.TABLE_FILE).relative_to(repository.root)
    home = (repository.machines / result.run.environment.machine).relative_to(repository.root)
    picture = f"![Ratio to {result.run.baseline} of each row, with intervals]({home}/ratio.svg)"
    words = (
        f"{markdown.environment_line(result.run.environment)}; one thread; {result.run.started_at[:10]}."
        f" Median of a call, and in brackets its ratio to `{result.run.baseline}` (above 1 is slower) with the verdict."
        " Ratios are paired turn by turn: they are not the quotients of the medians. **Bold**: the first place of its"
        " column, and those whom no verdict tells from it."
        f" {sum(one.is_decided for one in compared)} of {len(compared)} ratios are decided after"
        f" {duration(result.elapsed_s)}; {about_control(analysis.control)}.\n"
        f"[Intervals, compile times, memory, costs and errors]({full});"
        f" `python -m bench page results/{result.run.environment.machine}-*/` makes the page of all results of this"
        " machine, with charts, filters and the raw records."
        f" {error_rate}\n"
    )
    shapes = "; ".join(f"`{name}`: {facts.shape}" for name, facts in result.run.workloads.items())
    return f"{before}{START}\n\n{said}\n\n{tables}\n{shapes}.\n\n{picture}\n\n{words}\n{END}{after}"

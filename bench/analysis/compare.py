"""Two results of the same cells: what changed from the older to the newer one. Pure.

Times of two runs differ by what the machine did in between, ratios to a row of the same run much less. So a cell is
compared through a row that is the same code and versions in both runs, where there is one: the change is
(cell / row in NEW) / (cell / row in OLD). Without such a row absolute times are compared, and that is said.

Ratios do move from run to run: `two_runs` says how far, and what may be said nevertheless.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from bench.analysis import stats, verdict
from bench.analysis.analysis import Analysis
from bench.analysis.cells import paired
from bench.analysis.two_runs import (
    OF_RATIOS,
    OF_TIMES,
    Change,
    Moved,
    Sample,
    between_runs,
    seen,
    smallest,
    two_samples,
)
from impls.tasks import ALL_TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.analysis.cells import CellAnalysis
    from bench.records.schema import Cell, Group

    Place: TypeAlias = tuple[Group, str]
    """A group, and the sizes of its workload."""

Status: TypeAlias = Literal[
    "compared", "reference", "identical", "not comparable", "now failing", "now works", "no time", "new", "gone"
]
"""``reference``: others are compared through it, and its own change is the machine's. ``identical``: the same records.
``not comparable``: other machines, and no row to compare through. ``now failing``: it had a time. ``no time``: in
neither run. ``new``, ``gone``: recorded in one run only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A cell in two runs, or in one of them."""

    old: CellAnalysis | None
    new: CellAnalysis | None
    shape: str
    status: Status
    reason: str | None = None
    through: str | None = None
    """The row that the change is relative to; None: absolute times, or no change is given."""
    change: Change | None = None

    @property
    def cell(self) -> Cell:
        """As NEW has it, or else OLD."""
        one = self.new or self.old
        assert one is not None
        return one.cell

    @property
    def verdict(self) -> verdict.Verdict | None:
        """What may be said of the change."""
        return self.change.verdict if self.change else None

    @property
    def is_worse(self) -> bool:
        """Whether it is slower, or lost its time."""
        return self.verdict == "SLOWER" or self.status == "now failing"


class Unlike(NamedTuple):
    """What the two runs do not have in common."""

    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything that is to be said of two results."""

    old: Analysis
    new: Analysis
    cells: tuple[Compared, ...]
    unlike: tuple[Unlike, ...]
    other_machine: bool
    """Whether NEW is from another machine: absolute times are not compared, and there are no verdicts."""
    moved: Moved | None
    """How much ratios of unchanged rows moved from one run to the other; None: other machines, or no such row."""
    allowed: tuple[float, float] | None
    """What verdicts and intervals allow ratios to have moved, in the groups where that is least and most."""
    drift: float | None
    """How much longer a fixed NumPy product took in NEW: what absolute times contain of the machine."""

    @property
    def worse(self) -> list[Compared]:
        """The cells that are slower, or lost their time."""
        return [one for one in self.cells if one.is_worse]

    @property
    def untrusted(self) -> list[str]:
        """Which of OLD and NEW has a baseline that differs from itself."""
        return [name for name, one in (("OLD", self.old), ("NEW", self.new)) if not one.is_trusted]

    @property
    def findable(self) -> tuple[float, float] | None:
        """The fraction that a ratio has to change by, were there no other noise, to be told: where least and most."""
        if self.allowed is None:
            return None
        least, most = map(smallest, self.allowed)
        return least, most

    @property
    def counts(self) -> Counter[str]:
        """How many cells have which verdict, or which status where there is none."""
        return Counter(one.verdict or ("no verdict" if one.status == "compared" else one.status) for one in self.cells)


def compare(old: Analysis, new: Analysis) -> Comparison:
    """What changed from ``old`` to ``new``, cell by cell."""
    elsewhere = _is_another_machine(old, new)
    workloads = list(dict.fromkeys([*new.run.workloads, *old.run.workloads]))
    matches = list(_matches(old, new))
    pairs = {match.place: list(match.unchanged()) for match in matches}
    everywhere = [pair for of_place in pairs.values() for pair in of_place]
    supposed = between_runs(everywhere, OF_RATIOS)
    between = {place: 0.0 if elsewhere else between_runs(of_place, supposed) for place, of_place in pairs.items()}

    def place(one: Compared) -> tuple[object, ...]:
        cell = one.cell
        sizes = workloads.index(cell.workload), one.shape, ALL_TASKS.index(cell.task)
        return *sizes, cell.device, cell.precision, cell.threads, one.status != "reference"

    return Comparison(
        old=old,
        new=new,
        cells=tuple(sorted(_cells(old, new, matches, between, elsewhere), key=place)),
        unlike=tuple(_unlike(old, new)),
        other_machine=elsewhere,
        moved=None if elsewhere else seen(everywhere),
        allowed=(min(between.values()), max(between.values())) if between and not elsewhere else None,
        drift=None if elsewhere else _drift(old, new),
    )


class _Match(NamedTuple):
    """The rows of one place in the two runs."""

    place: Place
    before: dict[str, CellAnalysis]
    after: dict[str, CellAnalysis]
    same: frozenset[str]
    """Those that have the same code and versions in both runs."""
    reference: str | None
    """The one of these to compare through."""

    @property
    def through(self) -> tuple[CellAnalysis, CellAnalysis] | None:
        """What to compare through, in OLD and NEW."""
        return (self.before[self.reference], self.after[self.reference]) if self.reference else None

    @property
    def both(self) -> list[str]:
        """The rows that both runs have, as NEW lists them."""
        return [name for name in self.after if name in self.before]

    def unchanged(self) -> Iterator[tuple[Sample, Sample]]:
        """Log ratios in OLD and NEW that should be the same. Blocks that stand in both runs were measured but once."""
        for name in self.both:
            before, after = self.before[name], self.after[name]
            apart = not any(block in before.blocks for block in after.blocks)
            if self.through and name in self.same and name != self.reference and apart:
                yield _against(before, self.through[0]), _against(after, self.through[1])


def _matches(old: Analysis, new: Analysis) -> Iterator[_Match]:
    before, after = _places(old), _places(new)
    same = frozenset(name for name, facts in new.run.rows.items() if facts == old.run.rows.get(name))
    for place in dict.fromkeys([*after, *before]):
        match = _Match(place, before.get(place, {}), after.get(place, {}), same, None)
        yield match._replace(reference=_reference(match, new.run.baseline))


def _cells(
    old: Analysis, new: Analysis, matches: Sequence[_Match], between: Mapping[Place, float], elsewhere: bool
) -> Iterator[Compared]:
    for match in matches:
        for name in match.both:
            yield _in_both(match.before[name], match.after[name], match, between[match.place], elsewhere)
        for name in dict.fromkeys([*match.after, *match.before]):
            if name not in match.both:
                yield _in_one(match.before.get(name), match.after.get(name), match.place, old, new)


def _places(analysis: Analysis) -> dict[Place, dict[str, CellAnalysis]]:
    """The rows of each group; neither control nor bounds are rows."""
    places: dict[Place, dict[str, CellAnalysis]] = defaultdict(dict)
    for cell, one in analysis.cells.items():
        if cell.role == "row":
            places[cell.group, analysis.run.workloads[cell.workload].shape][cell.implementation] = one
    return places


def _reference(match: _Match, baseline: str) -> str | None:
    """The row to compare through: unchanged, and timed in both runs. NEW's baseline, else the one with most blocks."""
    both = {name: (match.before[name].blocks, match.after[name].blocks) for name in match.both if name in match.same}
    blocks = {name: min(map(len, of_both)) for name, of_both in both.items() if all(of_both)}
    if baseline in blocks:
        return baseline
    return max(blocks, key=lambda name: blocks[name], default=None)


def _in_one(
    before: CellAnalysis | None, after: CellAnalysis | None, place: Place, old: Analysis, new: Analysis
) -> Compared:
    """A cell that only one of the runs recorded."""
    group, shape = place
    facts = (old if after else new).run.workloads.get(group.workload)
    one = after or before
    why = _why(one) if one and one.failure else None
    return Compared(
        old=before,
        new=after,
        shape=shape,
        status="new" if after else "gone",
        reason=f"the other run has {facts.shape}" if facts and facts.shape != shape else why,
    )


def _in_both(before: CellAnalysis, after: CellAnalysis, match: _Match, between: float, elsewhere: bool) -> Compared:
    """A cell that both runs recorded."""
    plain = Compared(old=before, new=after, shape=match.place[1], status="no time")
    if not after.blocks:
        return replace(plain, status="now failing" if before.blocks else "no time", reason=_why(after))
    if not before.blocks:
        return replace(plain, status="now works", reason=_why(before))
    if before.blocks == after.blocks:
        # not two samples but one, taken twice: nothing is estimated, so nothing is uncertain
        return replace(plain, status="identical", change=Change(1.0, 1.0, 1.0, "SAME"))
    is_reference = after.cell.implementation == match.reference
    if match.through is not None and not is_reference:
        ratios = _against(before, match.through[0]), _against(after, match.through[1])
        if all(sample.logarithms for sample in ratios):
            change = two_samples(*ratios, stats.ONE_BLOCK_RATIO, between=between)
            if elsewhere or any(one.is_refused for one in (before, after, *match.through)):
                change = change._replace(verdict=None)
            return replace(plain, status="compared", through=match.reference, change=change)
    if elsewhere:
        return replace(plain, status="reference" if is_reference else "not comparable")
    change = two_samples(_log_times(before), _log_times(after), stats.ONE_BLOCK_TIME, between=OF_TIMES)
    if is_reference:
        return replace(plain, status="reference", change=change._replace(verdict=None))
    if before.is_refused or after.is_refused:
        change = change._replace(verdict=None)
    return replace(plain, status="compared", change=change)


def _against(one: CellAnalysis, reference: CellAnalysis) -> Sample:
    ratios = paired(one, reference)
    return Sample([ratios[block] for block in sorted(ratios)], one.prior)


def _log_times(one: CellAnalysis) -> Sample:
    return Sample([log(stats.median(samples)) for samples in one.samples_s])


def _why(one: CellAnalysis) -> str:
    """Why there is no time."""
    failure = one.failure
    assert failure is not None
    return f"{failure.status}: {failure.reason}" if failure.reason else failure.status


def _is_another_machine(old: Analysis, new: Analysis) -> bool:
    before, after = old.run.environment, new.run.environment
    on_gpu = "gpu" in (old.run.plan.device, new.run.plan.device)
    return (before.cpu, before.machine) != (after.cpu, after.machine) or (on_gpu and before.gpus != after.gpus)


def _drift(old: Analysis, new: Analysis) -> float | None:
    before, after = (
        [seconds for block in result.blocks for seconds in block.product_s] for result in (old.result, new.result)
    )
    return stats.median(after) / stats.median(before) if before and after and min(*before, *after) > 0 else None


def _unlike(old: Analysis, new: Analysis) -> Iterator[Unlike]:
    """What differs of the machine, its software, the plan and the rows' code."""
    before, after = _facts(old), _facts(new)
    for name in dict.fromkeys([*before, *after]):
        values = before.get(name, "–"), after.get(name, "–")
        if values[0] != values[1]:
            yield Unlike(name, *values)
    for name, facts in new.run.rows.items():
        if name in old.run.rows and facts.code != old.run.rows[name].code:
            yield Unlike(f"code of {name}", old.run.rows[name].code[:12], facts.code[:12])


def _facts(analysis: Analysis) -> dict[str, str]:
    here, plan = analysis.run.environment, analysis.run.plan
    commit = (here.git_commit or "none")[:12] + (", and changes" if here.git_dirty else "")
    return {
        "cpu": here.cpu,
        "machine": here.machine,
        "cores": str(here.cores),
        "memory": f"{here.memory_bytes / 2**30:.0f} GiB",
        "gpus": ", ".join(here.gpus) or "none",
        "os": here.os,
        "python": here.python,
        **here.versions,
        **{name: fact for name, fact in here.facts.items() if name not in OF_THE_MOMENT},
        "commit": commit,
        "harness": here.harness[:12] or "not recorded",
        "preset": analysis.run.preset,
        "baseline": analysis.run.baseline,
        "threads": ", ".join(map(str, plan.threads)),
        "turn": f"{1000 * plan.turn_s:g} ms",
        "seed of the inputs": str(analysis.run.seed),
    }


OF_THE_MOMENT = frozenset({"timer", "swap", "steal_since_boot"})
"""Recorded facts that are measured, and so differ from one moment to the next on one machine."""

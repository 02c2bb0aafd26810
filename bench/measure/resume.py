"""What ``bench run --resume`` goes on with: a run that is still the same program, rows, versions and machine."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from bench.machine.describe import code_facts, describe
from bench.machine.interpreters import choose_interpreters
from bench.measure.plan import BUDGETS, Budget
from bench.measure.request import Options, Request, choose_budget, choose_rows
from bench.records.schema import SAME_PROGRAM
from bench.records.store import read_result
from bench.records.versions import split, versions_of
from bench.workloads.shapes import named
from impls import find_bounds, find_rows
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from bench.records.schema import Result, Run
    from impls import Row


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run that is to go on."""

    result: Result
    """What it has."""
    request: Request
    """What it set out to do, with the budget that it goes on with."""


GOES_ALONG = ("resume", "impl", "budget", "interpreter")
"""The options that a run may go on with; the others are part of what it is."""


def check_resume(options: Options) -> Resumed:
    """The run in the folder that ``--resume`` names, if it can go on here and now.

    Beside it there may be ``--budget``, the files of rows that are not in the tree, and the Pythons, where it had
    several. A result does not say where they are: it could name any file, and that would be run.

    Raises:
        InvalidInput: it is no run, it was made on another machine, by another program or with other versions, or a row
            has changed since or is not there; or an option would make another run of it.
    """
    folder, impl, budget = options.resume, options.impl, options.budget
    assert folder is not None
    if given := [
        one.name for one in fields(options) if one.name not in GOES_ALONG and getattr(options, one.name) != one.default
    ]:
        raise InvalidInput(f"--resume goes on with what the run set out to do; leave --{given[0]} out")
    result = read_result(folder)
    run, here = result.run, describe()

    def refuse(why: str) -> InvalidInput:
        return InvalidInput(f"--resume {folder}: {why}")

    for what in (*SAME_PROGRAM, *(["gpus"] if run.plan.device == "gpu" else [])):
        then, now = getattr(run.environment, what), _known_then(getattr(run.environment, what), getattr(here, what))
        if then != now and what == "harness":
            raise refuse(
                "what measures has changed since (bench/ as far as runner and worker import it); start a new run"
            )
        if then != now:
            raise refuse(f"{what} not the same ({_difference(then, now)}); start a new run")
    if run.preset not in BUDGETS or not run.rows:
        raise refuse("does not say which rows and preset it had; start a new run")
    effort = effort_of(run, budget)
    known = find_rows() | {bound.name: bound for bound in find_bounds().values()}
    files = {row.name: row for row in choose_rows(impl)} if impl else {}
    rows: dict[str, Row] = {}
    for name in (split(name).row for name in run.rows):
        row = files.get(name) or known.get(name)
        if row is None:
            raise refuse(f"{name} is a file of your own; name it again, with --impl {name}.py")
        rows[name] = row
    if unknown := [name for name in files if name not in rows]:
        raise refuse(f"{unknown[0]} is not in it; leave --impl out, or start a new run")
    interpreters = choose_interpreters(options.interpreter, rows.values())
    if [one.version for one in interpreters if one.version] != versions_of(run):
        had = " ".join(f"{version}=PATH" for version in versions_of(run))
        raise refuse(f"name the Pythons that it had, with --interpreter {had}" if had else "it had no --interpreter")
    python_of = {one.version: one for one in interpreters}
    for name, then_row in run.rows.items():
        facts = code_facts(rows[split(name).row], python_of[split(name).version])
        if (then_row.code, then_row.versions) != (facts.code, _known_then(then_row.versions, facts.versions)):
            raise refuse(f"{name} has changed since; start a new run")
    out = folder.absolute()  # workers run in another folder than the person
    request = Request(
        rows=tuple(row for row in rows.values() if not row.is_bound),
        interpreters=interpreters,
        bounds=tuple(row for row in rows.values() if row.is_bound),
        workloads=tuple(named(name, run.preset) for name in run.workloads),
        tasks=tuple(run.plan.tasks),
        device=run.plan.device,
        threads=tuple(run.plan.threads),
        precisions=tuple(run.plan.precisions),
        preset=run.preset,
        budget=effort,
        baseline=run.baseline,
        out=out,
        command=run.command,
    )
    return Resumed(replace(result, path=out), request)


def effort_of(run: Run, budget: str | None) -> Budget:
    """The effort that the run goes on with; a time that is given, now or when it was begun, is obeyed.

    Raises:
        InvalidInput: it is no time.
    """
    preset = BUDGETS[run.preset]
    if budget is not None or run.plan.budget_s == preset.total_s:
        return choose_budget(run.preset, budget)
    return replace(preset, total_s=run.plan.budget_s, sure_blocks=1)


def _known_then(then: object, now: object) -> object:
    """What of now was there then: a package installed since is in no row that had a time."""
    return (
        {name: now[name] for name in now if name in then} if isinstance(then, dict) and isinstance(now, dict) else now
    )


def _difference(then: object, now: object) -> str:
    if isinstance(then, dict) and isinstance(now, dict):
        name = next(name for name in [*then, *now] if then.get(name) != now.get(name))
        return f"{name} {then.get(name, 'absent')}, now {now.get(name, 'absent')}"
    return f"{str(then)[:40]}, now {str(now)[:40]}"

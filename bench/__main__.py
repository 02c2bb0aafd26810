"""The command line: ``python -m bench --help``."""

from __future__ import annotations

import errno
import os
import resource
import shlex
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from bench.here import as_typed, shown
from bench.machine.limits import lower, too_low
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from types import FrameType

app = App(
    name="bench",
    help="Times one seq2seq LSTM, written in several frameworks, and refuses to time what is not proven equal.",
    help_format="plaintext",
    version_flags=[],
    suppress_keyboard_interrupt=False,  # `main` says that it was interrupted
)

Several = Parameter(consume_multiple=1, negative=(), show_default=False)


@app.command
def run(
    *,
    impl: Annotated[tuple[str, ...], Several] = (),
    workload: Annotated[tuple[str, ...], Several] = (),
    task: Annotated[tuple[str, ...], Several] = (),
    device: str = "cpu",
    threads: Annotated[tuple[str, ...], Several] = ("1",),
    precision: Annotated[tuple[str, ...], Several] = ("float32",),
    preset: str = "default",
    shape: str | None = None,
    sweep: Annotated[tuple[str, ...], Several] = (),
    against: str | None = None,
    baseline: str | None = None,
    budget: str | None = None,
    out: Path | None = None,
    interpreter: Annotated[tuple[str, ...], Several] = (),
    resume: Path | None = None,
) -> int:
    """Measure, write a result folder, and show the table.

    Some examples:
      python -m bench run --preset smoke
      python -m bench run --impl mine.py --against torch/module
      python -m bench run --impl torch/module jax/scan --workload g2p --task train_step
      python -m bench run --impl mine.py torch/module --shape hidden_dim=256,batch_size=32
      python -m bench run --sweep hidden_dim=64:2048 --shape batch_size=32
      python -m bench run --interpreter 2.9.1=old/bin/python 2.13.0=new/bin/python
      python -m bench run --resume results/local/2026-01-31T12-00-00

    Parameters
    ----------
    impl
        Rows to measure, by name, or files of your own that end in .py; all rows if not given.
    workload
        Workloads by name; those of the preset if not given.
    task
        encode, forward, gradients, train_step; forward and train_step if not given, and all in the preset full.
    device
        cpu or gpu.
    threads
        Numbers of threads, each measured apart.
    precision
        float32, bfloat16 (by the rows that have it), or on a GPU tf32, each measured apart.
    preset
        smoke (some minutes, no verdicts), default (20 minutes), full (4 hours), or scaling (50 minutes): sweeps of all
        sizes, no verdicts, and a fitted cost of each row, which bench advise reads; or threads: a sweep of these, up
        to all processors, at the shape in the middle of scaling.
    shape
        A workload of your own, such as hidden_dim=256,batch_size=32. Names: embedding_dim, hidden_dim,
        num_encoder_layers, num_decoder_layers, bidirectional, sequence_length, output_seq_length, batch_size.
        What is not named is as in the notebook.
    sweep
        Sizes that take the values from low to high, such as hidden_dim=64:2048, each doubled from the one before; one
        at a time, the others as in --shape or else as in the preset scaling. Names: those of --shape but for
        bidirectional; or threads, alone.
    against
        The one row that those of --impl are held against: it is measured with them, and is the baseline.
    baseline
        The row that ratios are to; torch/module if not given.
    budget
        The time that it may take, such as 90s, 15m or 2h; the preset's if not given. Blocks go to what is
        undecided until all is decided or the time is spent.
    out
        Folder for the result, which must not exist yet; results/local/<time> if not given.
    interpreter
        Pythons with other versions of a framework, such as 2.9.1=PATH 2.13.0=PATH, the oldest first: every row is
        measured once under each, all at one round table, as torch/module@2.9.1 and torch/module@2.13.0. --baseline
        names one of those; without a version, or if not given, the baseline is the last one's. Bounds are left out.
        `nox -s versions` makes such environments.
    resume
        Go on with the run in this folder: what it lacks is measured. Beside it, --budget may be given, and --impl
        for files of your own; --interpreter has to be, where the run had it.
    """
    from bench.request import check_request
    from bench.resume import check_resume
    from bench.run import go_on
    from bench.run import run as run_request

    if resume is not None:
        given: dict[str, object] = {
            "--workload": workload,
            "--task": task,
            "--shape": shape,
            "--sweep": sweep,
            "--out": out,
        }
        given |= {"--against": against, "--baseline": baseline, "--device": device != "cpu"}
        given |= {"--threads": threads != ("1",), "--precision": precision != ("float32",)}
        given |= {"--preset": preset != "default"}
        if named := [name for name, value in given.items() if value]:
            raise InvalidInput(f"--resume goes on with what the run set out to do; leave {named[0]} out")
        return go_on(check_resume(resume, impl, budget, interpreter))
    request = check_request(
        impl=impl,
        workload=workload,
        task=task,
        device=device,
        threads=threads,
        precision=precision,
        preset=preset,
        shape=shape,
        sweep=sweep,
        against=against,
        baseline=baseline,
        budget=budget,
        out=out,
        interpreter=interpreter,
    )
    return run_request(request)


@app.command(name="list")
def list_() -> None:
    """Show the rows and workloads, and why something is unavailable. Imports no framework.

    An example:
      python -m bench list
    """
    from bench.listing import listing

    Console(highlight=False, markup=False, soft_wrap=True).print(*listing(), sep="\n")


@app.command
def machine() -> None:
    """Show what about this machine makes times uncertain, and how to cure it. Changes no setting.

    An example:
      python -m bench machine
    """
    from bench.environment import blas_of_workers
    from bench.machine.facts import examine
    from bench.machine.faults import faults
    from bench.method.accuracy import measure_accuracy
    from bench.report.machine_text import render

    print("bench: looks at the machine, then lets identical workers take turns for half a minute", file=sys.stderr)
    facts = replace(examine(), blas=blas_of_workers())
    Console(highlight=False, markup=False).print(*render(facts, faults(facts), measure_accuracy()), sep="\n")


@app.command
def peak(
    *,
    workload: Annotated[tuple[str, ...], Several] = (),
    task: Annotated[tuple[str, ...], Several] = (),
    device: str = "cpu",
    threads: Annotated[tuple[str, ...], Several] = ("1",),
    precision: Annotated[tuple[str, ...], Several] = ("float32",),
) -> int:
    """Measure how fast products can be made here: the limits that a run holds its rows against. One to two minutes.

    Some examples:
      python -m bench peak
      python -m bench peak --workload g2p braun --task train_step
      python -m bench peak --threads 1 2

    Parameters
    ----------
    workload
        Workloads by name; those of the default preset if not given.
    task
        encode, forward, gradients, train_step; forward and train_step if not given.
    device
        cpu or gpu.
    threads
        Numbers of threads, each measured apart.
    precision
        float32, or on a GPU tf32, each measured apart.
    """
    from bench.peak import BLOCKS, check_peak, measure
    from bench.report.peak_text import render

    asked = check_peak(workload=workload, task=task, device=device, threads=threads, precision=precision)
    stderr = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    bounds = f"{len(asked.bounds)} bound{'s' * (len(asked.bounds) != 1)}"
    stderr.print(f"bench: {bounds} take turns in {BLOCKS} blocks; in the first they compile and are checked")
    with stderr.status("") as status:
        found = measure(asked, status.update)
    Console(highlight=False, markup=False).print(*render(found), sep="\n")
    return 1 if found.failures else 0


@app.command
def profile(
    *rows: str,
    workload: Annotated[tuple[str, ...], Several] = (),
    task: Annotated[tuple[str, ...], Several] = (),
    threads: str = "1",
    out: Path | None = None,
) -> int:
    """Show what a row's time goes to: matrix products, elementwise operations, overhead. Seconds each, or minutes.

    Each is held against the oracle, timed, and profiled on the CPU with its framework's own profiler, whose trace is
    kept.

    Some examples:
      python -m bench profile torch/module
      python -m bench profile torch/module jax/scan --workload g2p braun --task train_step
      python -m bench profile mine.py --out results/profiles/mine

    Parameters
    ----------
    rows
        Rows by name, or files of your own that end in .py; all idiomatic and tuned rows if not given.
    workload
        Workloads by name; seed if not given.
    task
        encode, forward, gradients, train_step; forward and train_step if not given.
    threads
        Number of threads.
    out
        Folder for profile.json and the traces, which must not exist yet; results/profiles/<time> if not given.
    """
    from bench.profiling.asked import check_profile
    from bench.profiling.measure import measure
    from bench.report.profile_text import render

    asked = check_profile(rows=rows, workload=workload, task=task, threads=threads, out=out)
    stderr = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    with stderr.status("") as status:
        found = measure(asked, lambda what: status.update(what) if stderr.is_terminal else stderr.print(what))
    folder = Path(shown(asked.out))
    Console(highlight=False, markup=False, soft_wrap=True).print(*render(found, folder), sep="\n")
    if any(one.status != "ok" for one in found.profiles):
        stderr.print(f"what those that failed have said: {folder}/logs")
    stderr.print(f"profiles: {folder}")
    if len(found.profiles) < len(asked.cells):
        stderr.print(f"interrupted: {len(found.profiles)} of {len(asked.cells)} are made, and kept")
        return 130
    return 0 if all(one.status == "ok" for one in found.profiles) else 1


@app.command
def advise(
    *,
    shape: str,
    task: Annotated[tuple[str, ...], Several] = (),
    threads: str = "1",
    device: str = "cpu",
    precision: str = "float32",
    result: Path | None = None,
    measure: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Say which row to expect to be the fastest at a shape that was not measured, and how sure that is.

    It rests on a scaling run: `bench run --preset scaling` makes one, in about 50 minutes.

    Some examples:
      python -m bench advise --shape hidden_dim=256,batch_size=32
      python -m bench advise --shape hidden_dim=256,batch_size=32 --task train_step --threads 2
      python -m bench advise --shape hidden_dim=256,batch_size=32 --measure

    Parameters
    ----------
    shape
        Such as hidden_dim=256,batch_size=32, with the names and defaults of bench run.
    task
        encode, forward, gradients, train_step; forward and train_step if not given.
    threads
        The number of threads.
    device
        cpu or gpu.
    precision
        float32, bfloat16 or tf32.
    result
        The folder of a scaling run; the newest of this machine if not given, or else of another, which is said.
    measure
        Go on and measure the shape.
    """
    from bench.advise import advise as advise_on
    from bench.report.advice_text import render
    from bench.request import check_request
    from bench.run import run as run_request

    advice = advise_on(shape=shape, task=task, threads=threads, device=device, precision=precision, result=result)
    Console(highlight=False, markup=False).print(*render(advice), sep="\n")
    print("", as_typed(shlex.join(advice.command)))
    if not measure:
        return 0
    sys.stdout.flush()
    tasks = [of_task.at.task for of_task in advice.tasks]
    return run_request(
        check_request(
            shape=shape, task=tasks, threads=[threads], device=device, precision=[precision], preset="default"
        )
    )


@app.command
def calibrate(
    *,
    rows: Annotated[list[str] | None, Several] = None,
    pairs: int | None = None,
    budget: str = "4h",
    out: Path | None = None,
) -> int:
    """Measure how often the verdicts err: identical workers, planted slow-downs, quiet and with a noisy neighbour.

    Some examples:
      python -m bench calibrate
      python -m bench calibrate --pairs 32 --budget 10m --out results/calibrations/short
      python -m bench calibrate --rows torch/module jax/tuned thinc/layers --out results/calibrations/rows

    Parameters
    ----------
    rows
        Real rows, each seated several times as its own twin on the default workloads, and with a planted slow-down;
        workers of counted work if not given.
    pairs
        How many pairs of identical workers: 60 of real rows, 320 of the others, half of these with a neighbour.
    budget
        The time that it may take, such as 90s, 15m or 2h; what is complete by then is reported. Three rows need some
        20 minutes for six pairs. A first batch, of workers of counted work one of each kind, is measured in any case.
    out
        Folder for the result; results/calibrations/<time> if not given. If it holds an unfinished calibration
        of this program (the same commit) on this machine, that goes on.
    """
    from bench.method.calibrate import calibrate as measure
    from bench.request import CALIBRATIONS, choose_twins, command_of, parse_budget

    wanted = pairs if pairs is not None else 60 if rows else 320
    if wanted < 1:
        raise InvalidInput(f"--pairs {pairs}: must be at least 1")
    folder = out or CALIBRATIONS / f"{datetime.now():%Y-%m-%dT%H-%M-%S}"
    chosen = choose_twins(rows or [])
    command = command_of("calibrate", rows=rows or [], pairs=[f"{wanted}"], budget=[budget])
    return measure(pairs=wanted, budget_s=parse_budget(budget), out=folder, command=command, rows=chosen)


@app.command
def table(
    *results: Path,
    style: Annotated[Literal["text", "markdown", "csv", "json"], Parameter(name="--format")] = "text",
) -> None:
    """Show one result or several together.

    Some examples:
      python -m bench table results/local/2026-01-31T12-00-00
      python -m bench table results/local/*/ --format json

    Parameters
    ----------
    results
        Result folders.
    style
        text, markdown, csv or json.
    """
    from bench.records import read_result
    from bench.report import export, markdown, text
    from bench.report.rows import table_rows

    if not results:
        raise InvalidInput("table: name at least one result folder; `bench run` says where it put its result")
    read = [read_result(folder) for folder in {folder.resolve(): folder for folder in results}.values()]
    rows = table_rows(read)
    if style == "text":
        Console(highlight=False, markup=False).print(*text.render(rows, read), sep="\n")
    else:
        sys.stdout.write(
            {
                "markdown": lambda: markdown.full(rows, read),
                "csv": lambda: export.to_csv(rows),
                "json": lambda: export.to_json(rows),
            }[style]()
        )


@app.command
def page(*results: Path, out: Path | None = None) -> None:
    """Write a page with charts, filters and every number, its charts as pictures, and the raw samples.

    The page, report.html, is one file that needs no network. Several results are shown side by side, and over time.

    Some examples:
      python -m bench page results/local/2026-01-31T12-00-00
      python -m bench page results/local/*/ --out site

    Parameters
    ----------
    results
        Result folders.
    out
        Folder for report.html, pictures/ and samples.csv; the result's own if there is one, and
        results/pages/<time> if there are several.
    """
    from bench.page.write import write_all
    from bench.records import read_result
    from bench.request import PAGES

    if not results:
        raise InvalidInput("page: name at least one result folder; `bench run` says where it put its result")
    folders = list({folder.resolve(): folder for folder in results}.values())
    read = [read_result(folder) for folder in folders]
    place = out or (folders[0] if len(folders) == 1 else PAGES / f"{datetime.now():%Y-%m-%dT%H-%M-%S}")
    stderr = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    with stderr.status("reads the results") as status:
        written = write_all(read, place, status.update)
    print(written)


@app.command
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
        The result folder that is judged.
    style
        text, markdown or json.
    fail_on
        slower: exit with 1 if any cell is SLOWER or lost its time, with 2 if no cell has a verdict or a run is not to
        be trusted. UNCLEAR never fails, nor does a cell that the newer run did not measure.
    """
    from bench.compare import compare as compare_results
    from bench.records import read_result
    from bench.report import comparison as report

    comparison = compare_results(read_result(old), read_result(new))
    if style == "text":
        Console(highlight=False, markup=False).print(*report.render(comparison), sep="\n")
    else:
        sys.stdout.write(report.to_markdown(comparison) if style == "markdown" else report.to_json(comparison))
    if style == "json":
        for doubt in report.doubts(comparison):
            print(f"bench: {as_typed(doubt)}", file=sys.stderr)
    if fail_on and not comparison.worse and not any(one.verdict for one in comparison.cells):
        raise InvalidInput(
            "--fail-on slower: no cell has a verdict, so nothing can be said; compare longer runs of one machine"
        )
    if fail_on and (untrusted := comparison.untrusted):
        raise InvalidInput(
            f"--fail-on slower: {' and '.join(untrusted)} may not be trusted: its baseline differs from itself"
        )
    return 1 if fail_on and comparison.worse else 0


@app.command
def publish(result: Path | None = None) -> None:
    """Copy a valid result to results/<machine>-<date>, and make all published tables and the index anew.

    Profiles and calibrations are published as well, each to its own place.

    Some examples:
      python -m bench publish results/local/2026-01-31T12-00-00
      python -m bench publish      (only makes the tables anew)

    Parameters
    ----------
    result
        A result folder in which every row works (where there are several versions, under one of them), a calibration or
        a folder of profiles, made by code that is committed.
    """
    from bench.publish import publish as publish_result
    from bench.publish import refresh

    if result is None:
        refresh()
    else:
        print(shown(publish_result(result)))


new = App(name="new", help="Write a template.", version_flags=[])
app.command(new)


@new.command
def row(name: str) -> None:
    """Write the template of a row, which passes once its model is filled in.

    An example:
      python -m bench new row torch/mine     (then fill in impls/torch/mine.py)

    Parameters
    ----------
    name
        Framework and variant, such as torch/mine; a framework that has no folder yet gets one.
    """
    from bench.template import write_row

    print(shown(write_row(name)))


def main() -> int:
    """Run the command line: its exit code, or 2 with one line where what was asked for makes no sense.

    1 where the output is not taken, because the reader has gone or the disk is full, and where the system refuses else.

    SIGTERM is taken as Ctrl-C is: what was measured is kept. So is SIGHUP, which comes when the terminal is closed, but
    for nohup; and SIGXCPU, which comes before SIGKILL where a process may have so much processor time and no more: to
    this one, and to those that it starts.
    """
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    most_s = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if most_s != resource.RLIM_INFINITY:
        lower(resource.RLIMIT_CPU, max(1, most_s - max(1, most_s // 10)), most_s)  # a tenth is for the last words
    _have_a_home()
    for name in ("stdout", "stderr"):
        if (stream := getattr(sys, name)) is None:  # closed
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no such sign gets a question mark
    sys.stderr = Dispensable(sys.stderr)
    try:
        Path.cwd()
    except FileNotFoundError:
        print("bench: the current folder is gone; change to one that is there", file=sys.stderr)
        return 2
    try:
        if low := too_low():
            raise InvalidInput(low)
        result = app(sys.argv[1:], print_error=False, exit_on_error=False, result_action="return_value")
        sys.stdout.flush()
    except InvalidInput as error:
        message = str(error)
    except CycloptsError as error:
        message = " ".join(str(error).split())
    except KeyboardInterrupt as why:
        print(f"bench: {str(why) or 'interrupted'}", file=sys.stderr)
        return 130
    except OSError as error:
        if error.filename is not None or error.errno not in OF_OUTPUT:  # output has no name
            said = f"{error.filename}: {error.strerror}" if error.filename is not None else f"{error}"
            print(f"bench: {said}", file=sys.stderr)
            return 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at its end
        if not isinstance(error, BrokenPipeError):  # whoever read it has read enough
            print(f"bench: standard output: cannot be written ({error.strerror})", file=sys.stderr)
        return 1
    else:
        return result if isinstance(result, int) else 0
    print(f"bench: {as_typed(message)}", file=sys.stderr)
    return 2


OF_OUTPUT = {errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT}
"""How a write to standard output fails; all else is another thing that the system refuses."""


def _have_a_home() -> None:
    """Let libraries go on that ask for a person's home where there is none: Altair does when it is imported."""
    try:
        Path.home()
    except RuntimeError:  # no HOME, and a user whom the system does not know, as in many a container
        os.environ["HOME"] = "/nonexistent"  # a folder that others can write in would be a place for their packages


class Dispensable:
    """A stream that nothing depends on: where it cannot be written, the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        """All else is the stream's."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, if that can be done."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if that can be done."""
        with suppress(OSError):
            self._stream.flush()


def _interrupt(number: int, _frame: FrameType | None) -> None:
    if number == signal.SIGXCPU:
        signal.signal(number, signal.SIG_IGN)  # it would come again each second
        raise KeyboardInterrupt("the processor time that a process may have here is used up (ulimit -t)")
    raise KeyboardInterrupt


if __name__ == "__main__":
    if sys.flags.optimize > 1:  # without docstrings there is no help, and Altair cannot be imported
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONOPTIMIZE"}
        os.execve(sys.executable, [sys.executable, "-m", "bench", *sys.argv[1:]], kept)
    sys.exit(main())

"""What is asked of ``bench run``: its options, and what they come to here, checked before anything is made."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from bench.here import ROOT
from bench.machine.cpus import processors
from bench.machine.gpu import gpus
from bench.machine.interpreters import OWN, choose_interpreters, in_words
from bench.machine.limits import available_to_a_process
from bench.measure.plan import BASELINE, BUDGETS, PRECISIONS_OF, PRESET_ON, PRESETS, Budget, Preset
from bench.records.schema import CONTROL, SIGN
from bench.records.versions import join
from bench.workloads.dictionary import read_words
from bench.workloads.shapes import Workload, estimate_bytes
from bench.workloads.sweeps import SCALING, choose_sweeps, choose_threads, choose_workloads
from impls import HERE, find_bounds, find_rows, read_row
from impls.contract import Device, InvalidInput, Precision
from impls.tasks import ALL_TASKS, LETTER_TASKS, AnyTask, LetterTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.machine.interpreters import Interpreter
    from impls import Row


NO_ROW = (
    "is a bound, and no row: it is measured wherever a row of its framework is; `python -m bench peak` shows it alone"
)

LOCAL = ROOT / "results" / "local"
CALIBRATIONS = ROOT / "results" / "calibrations"
PAGES = ROOT / "results" / "pages"
"""Beside the results, for `bench table results/local/*/` reads results only."""


WORDS_OF: dict[LetterTask, tuple[str, ...]] = {"decode_greedy": ("g2p", "word"), "learn_step": ("letters",)}
"""Task of a training to the workloads that it is measured at where none is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What ``bench run`` can be asked: the words of its command line.

    Parameters
    ----------
    impl
        Rows to measure, by name, or files of your own that end in .py; all rows if not given.
    workload
        Workloads by name; those of the preset if not given.
    task
        encode, forward, gradients, train_step; forward and train_step if not given, and all of these in the preset
        full. Of rows that can be trained, with words: decode_greedy (letters to phonemes, one by one) and learn_step (a
        step of bench train).
    device
        cpu, or gpu; the CPU if not given.
    threads
        Numbers of threads, each measured apart; 1 if not given.
    precision
        float32, bfloat16 (by the rows that have it), or on a GPU tf32, each measured apart; float32 if not given, and
        all three in the preset gpu.
    preset
        smoke (some minutes, no verdicts), default (20 minutes; if none is given), gpu (6 minutes; if none is given
        with --device gpu), full (4 hours), or scaling (50 minutes): sweeps of all sizes, no verdicts, and a fitted cost
        of each row, which bench advise reads; or threads: a sweep of these, up to all processors, at the shape in the
        middle of scaling.
    shape
        A workload of your own, such as hidden_dim=256,batch_size=32. Names: embedding_dim, hidden_dim,
        num_encoder_layers, num_decoder_layers, bidirectional, sequence_length, output_seq_length, batch_size. What is
        not named is as in the notebook.
    sweep
        Sizes that take the values from low to high, such as hidden_dim=64:2048, each doubled from the one before; one
        at a time, the others as in --shape or else as in the preset scaling. Names: those of --shape but for
        bidirectional; or threads, alone.
    against
        The one row that those of --impl are held against: it is measured with them, and is the baseline.
    baseline
        The row that ratios are to; torch/module if not given.
    budget
        The time that it may take, such as 90s, 15m or 2h, but for the first block and a last look at each cell, which
        are always made; the preset's if not given. Blocks go to what is undecided until all is decided or the time is
        spent.
    dry_run
        Print the plan, who is in it and how long it will take; nothing is measured, and the device need not be there.
    out
        Folder for the result, which must not exist yet; results/local/<time> if not given.
    interpreter
        Pythons with other versions of a framework, such as 2.9.1=PATH 2.13.0=PATH, the oldest first: every row is
        measured once under each, all in one pool, as torch/module@2.9.1 and torch/module@2.13.0. --baseline names one
        of those; without a version, or if not given, the baseline is the last one's. Bounds are left out. `nox -s
        versions` makes such environments.
    resume
        Go on with the run in this folder: what it lacks is measured. Beside it, --budget may be given, and --impl for
        files of your own; --interpreter has to be, where the run had it.
    """

    impl: tuple[str, ...] = ()
    workload: tuple[str, ...] = ()
    task: tuple[AnyTask, ...] = ()
    device: Device = "cpu"
    threads: tuple[str, ...] = ("1",)
    precision: tuple[Precision, ...] = ()
    preset: Preset | None = None
    shape: str | None = None
    sweep: tuple[str, ...] = ()
    against: str | None = None
    baseline: str | None = None
    budget: str | None = None
    dry_run: bool = False
    out: Path | None = None
    interpreter: tuple[str, ...] = ()
    resume: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the options come to on this machine."""

    rows: tuple[Row, ...]
    interpreters: tuple[Interpreter, ...]
    """Each row is measured under each; the last is the one that the others are history to."""
    bounds: tuple[Row, ...]
    """What the rows are held against: nothing where there are several versions, for each would need its own entry, and
    versions are held against each other."""
    workloads: tuple[Workload, ...]
    tasks: tuple[AnyTask, ...]
    device: Device
    threads: tuple[int, ...]
    precisions: tuple[Precision, ...]
    preset: str
    budget: Budget
    baseline: str
    out: Path
    command: str


def check_request(options: Options) -> Request:
    """What the options ask for; InvalidInput where a word means nothing, or cannot be done on this machine."""
    impl, against, baseline = options.impl, options.against, options.baseline
    preset = options.preset or PRESET_ON[options.device]
    if preset == "gpu" and options.device != "gpu":
        raise InvalidInput("--preset gpu: is sized for a GPU; add --device gpu, or choose another preset")
    if against is not None and baseline is not None:
        raise InvalidInput("--against names the baseline already; leave --baseline out")
    if against is not None and not impl:
        raise InvalidInput(f"--against {against}: say what is held against it, with --impl")
    rows = choose_rows([*impl, against] if against else impl)
    elsewhere = options.dry_run and not is_here(options.device)
    if not elsewhere:
        check_device(options.device)
    sweeps = choose_sweeps(options.sweep, preset, len(processors()))
    names = options.workload
    if options.task and set(options.task) <= set(LETTER_TASKS) and not (names or options.shape or sweeps):
        names = tuple(name for task, own in WORDS_OF.items() if task in options.task for name in own)
    workloads = choose_workloads(names, preset, options.device, options.shape, sweeps)
    if not elsewhere:
        check_workloads(workloads)
    if options.interpreter and preset == SCALING:
        raise InvalidInput("--interpreter: what a scaling run is fitted to has one version; choose another preset")
    interpreters = choose_interpreters(options.interpreter, rows)
    if impl and (absent := next((row for row in rows if all(row.missing(one.has) for one in interpreters)), None)):
        missing = absent.missing(interpreters[-1].has)
        raise InvalidInput(f"{absent.name}: {missing}; install it, or leave the row out")
    if against is not None:
        baseline = choose_rows([against])[0].name
        if len(rows) < 2:
            raise InvalidInput(f"--against {against}: is what --impl names already")
    if baseline is not None:
        baseline = choose_baseline(baseline, rows, interpreters)
    return Request(
        rows=tuple(rows),
        interpreters=interpreters,
        bounds=() if options.interpreter or preset == SCALING else bounds_of(rows, options.device),
        workloads=tuple(workloads),
        tasks=choose_tasks(options.task, preset),
        device=options.device,
        threads=tuple(parse_threads(choose_threads(options.threads, sweeps))),
        precisions=choose_precisions(options.precision or PRECISIONS_OF.get(preset, ("float32",)), options.device),
        preset=preset,
        budget=choose_budget(preset, options.budget),
        baseline=baseline or default_baseline(rows, options.device, interpreters),
        out=free_folder(options.out),
        command=command_of(
            "run",
            impl=[plain(name) for name in impl],
            workload=options.workload,
            task=options.task,
            device=[options.device],
            threads=options.threads,
            precision=options.precision,
            preset=[preset],
            shape=[options.shape] if options.shape else [],
            sweep=options.sweep,
            baseline=[baseline] if baseline and not against else [],
            against=[plain(against)] if against else [],
            budget=[options.budget] if options.budget else [],
            interpreter=[in_words(one) for one in interpreters if one.version],
        ),
    )


def choose_twins(names: Sequence[str]) -> tuple[Row, ...]:
    """The tree's rows of these names, to be their own twins; InvalidInput where one cannot do what a default run asks.

    None if none is named.
    """
    rows = tuple(choose_rows(names)) if names else ()
    for row in rows:
        if not row.path.is_relative_to(HERE):
            raise InvalidInput(
                f"--rows {row.path.name}: must be a row of impls/, for what is published can be repeated"
            )
        lacking = (why for name, why in row.unsupported.items() if name in PRESETS["default"])
        missing = row.missing() or next(lacking, None)
        if missing or "cpu" not in row.devices:
            raise InvalidInput(f"--rows {row.name}: {missing or 'does not run on a cpu'}; choose another")
    return rows


def choose_rows(names: Sequence[str]) -> list[Row]:
    """The rows of these names or files, all of the tree's if none is given; InvalidInput where one is no row."""
    known = find_rows()
    rows = []
    for name in names:
        if name in known:
            rows.append(known[name])
        elif name.endswith(".py"):
            path = Path(name).resolve()
            rows.append(read_row(path))
        elif name in {bound.name for bound in find_bounds().values()}:
            raise InvalidInput(f"{name} {NO_ROW}")
        else:
            raise InvalidInput(f"unknown row {name!r}; choose from {', '.join(known)}, or give a file that ends in .py")
    by_name: dict[str, Row] = {}
    for row in rows or known.values():
        if row.is_bound:
            raise InvalidInput(f"{row.path.name} {NO_ROW}")
        if row.name == CONTROL:
            raise InvalidInput(f"{row.path.name}: {CONTROL!r} is the name of the baseline's second entry; rename it")
        if SIGN in row.name:
            raise InvalidInput(f"{row.path.name}: {SIGN} stands before a version in the table; rename it")
        if by_name.setdefault(row.name, row).path != row.path:
            raise InvalidInput(f"two files are called {row.name}; rename one")
    return list(by_name.values())


def bounds_of(rows: Sequence[Row], device: Device) -> tuple[Row, ...]:
    """What these rows are held against, as far as that can be measured here."""
    multipliers = {row.multiplier for row in rows if device in row.devices and row.missing() is None}
    found = (bound for framework, bound in find_bounds().items() if framework in multipliers)
    return tuple(bound for bound in found if device in bound.devices and bound.missing() is None)


def choose_baseline(name: str, rows: Sequence[Row], interpreters: Sequence[Interpreter]) -> str:
    """The run's baseline of that name, the last interpreter's if it has no version; InvalidInput if there is none."""
    names = [join(row.name, one.version) for row, one in product(rows, interpreters)]
    found = next((full for full in (name, join(name, interpreters[-1].version)) if full in names), None)
    if found is None:
        raise InvalidInput(f"--baseline {name}: is not in this run, which has {', '.join(names)}")
    return found


def default_baseline(rows: Sequence[Row], device: Device, interpreters: Sequence[Interpreter] = (OWN,)) -> str:
    """``BASELINE`` if it can run here, or the first row that can: what is entered twice has to be there.

    The last interpreter's, or that of the last which has such a row.
    """
    for one in reversed(interpreters):
        if runs := [row.name for row in rows if device in row.devices and row.missing(one.has) is None]:
            return join(BASELINE if BASELINE in runs else runs[0], one.version)
    return join(BASELINE, interpreters[-1].version)


def choose_tasks(names: Sequence[AnyTask], preset: str) -> tuple[AnyTask, ...]:
    """These tasks, in their own order; the preset's where none is named."""
    return tuple(name for name in ALL_TASKS if name in (names or PRESETS[preset]))


def is_here(device: Device) -> bool:
    """Whether this machine has the device."""
    return device == "cpu" or bool(gpus())


def check_device(device: Device) -> None:
    """Raise InvalidInput unless the device is there."""
    if not is_here(device):
        raise InvalidInput(
            "--device gpu: `nvidia-smi -L` lists no NVIDIA device (is the driver installed?);"
            " leave it out to run on the CPU"
        )


def choose_precisions(names: Sequence[Precision], device: Device) -> tuple[Precision, ...]:
    """These precisions, each once; InvalidInput where the device does not have one."""
    if "tf32" in names and device == "cpu":
        raise InvalidInput("--precision tf32: is a GPU's; on the CPU there are float32 and bfloat16")
    return tuple(dict.fromkeys(names))


def choose_budget(preset: str, budget: str | None) -> Budget:
    """The preset's effort, for the time that is given, if one is: it is obeyed, though no verdict be reached in it."""
    if budget is None:
        return BUDGETS[preset]
    return replace(BUDGETS[preset], total_s=parse_budget(budget), sure_blocks=1)


def parse_budget(budget: str) -> float:
    """The seconds that ``90s``, ``15m`` or ``2h`` stands for; InvalidInput where it is no such time."""
    match = re.fullmatch(r"([0-9]{1,6})(s|m|h)", budget)
    if match is None or int(match[1]) == 0:
        raise InvalidInput(f"--budget {budget}: must be a time such as 90s, 15m or 2h")
    return int(match[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0}[match[2]]


def check_workloads(workloads: Sequence[Workload]) -> None:
    """Raise InvalidInput where real words cannot be read, or a workload does not fit into memory."""
    if any(one.is_words for one in workloads):
        read_words()
    for one in workloads:
        needed, free = estimate_bytes(one), available_to_a_process()
        if needed > free:
            raise InvalidInput(
                f"workload {one.name} needs about {needed / 2**30:.0f} GiB, and {free / 2**30:.0f} GiB are free;"
                " choose smaller sizes"
            )


def free_folder(out: Path | None, home: Path = LOCAL) -> Path:
    """A folder for the result: ``out``, or one in ``home`` named after the time; InvalidInput where it exists already.

    Absolute: workers run in the repository's folder, and ``out`` is meant from where the person is.
    """
    if out is None:
        stamp = datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
        path, number = home / stamp, 1
        while path.exists():
            number += 1
            path = home / f"{stamp}-{number}"
        return path
    try:
        if not out.exists():
            return out.absolute()
    except OSError as error:
        raise InvalidInput(f"--out {str(out)[:80]}: cannot be written ({error.strerror})") from None
    raise InvalidInput(f"--out {out}: exists already; choose another folder, or remove it")


def plain(name: str) -> str:
    """The name of a row, or of a file without the folders of this machine."""
    return Path(name).name if name.endswith(".py") else name


def command_of(*words: str, **options: Sequence[str]) -> str:
    """The command line of these words and of the options that have values."""
    given = [word for name, values in options.items() if values for word in (f"--{name}", *values)]
    return shlex.join(["python", "-m", "bench", *words, *given])


def parse_threads(values: Sequence[str]) -> list[int]:
    """The numbers of threads that the words are; InvalidInput unless each is from 1 to what there is."""
    most = len(processors())
    threads = []
    for value in values:
        if not re.fullmatch(r"[0-9]{1,9}", value):
            raise InvalidInput(f"--threads {value}: must be a whole number from 1 to {most}")
        number = int(value)
        if not 1 <= number <= most:
            raise InvalidInput(f"--threads {value}: must be from 1 to {most}, the processors this process may use")
        threads.append(number)
    return list(dict.fromkeys(threads))

"""What is asked of ``bench run``: the words of a command line, checked before anything is made."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from bench.environment import ROOT, available_bytes, gpus, parse_threads
from bench.pronunciations import read_words
from bench.workloads import PRESETS, Workload, choose, estimate_bytes, parse_shape
from impls import HERE, find_rows, read_row
from impls.contract import DEVICES, TASKS, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from impls import Row
    from impls.contract import Device, Task

BASELINE = "torch/module"
LOCAL = ROOT / "results" / "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked of ``bench run``, checked."""

    rows: tuple[Row, ...]
    workloads: tuple[Workload, ...]
    tasks: tuple[Task, ...]
    device: Device
    threads: tuple[int, ...]
    preset: str
    baseline: str
    out: Path
    command: str


def check_request(
    *,
    impl: Sequence[str],
    workload: Sequence[str],
    task: Sequence[str],
    device: str,
    threads: Sequence[str],
    preset: str,
    shape: str | None,
    baseline: str | None,
    out: Path | None,
) -> Request:
    """The request behind the words of a command line.

    Raises:
        InvalidInput: a word means nothing here, or what it asks for cannot be done on this machine.
    """
    rows = choose_rows(impl)
    if unknown := [name for name in task if name not in TASKS]:
        raise InvalidInput(f"unknown task {unknown[0]!r}; choose from {', '.join(TASKS)}")
    if preset not in PRESETS:
        raise InvalidInput(f"unknown preset {preset!r}; choose from {', '.join(PRESETS)}")
    chosen_device = choose_device(device)
    workloads = choose(workload, preset, device) if workload or shape is None else []
    if shape is not None:
        workloads.append(parse_shape(shape))
    if any(one.is_words for one in workloads):
        read_words()  # says what is wrong with the dictionary, before anything is made
    for one in workloads:
        needed, free = estimate_bytes(one), available_bytes()
        if needed > free:
            raise InvalidInput(
                f"workload {one.name} needs about {needed / 2**30:.0f} GiB, and {free / 2**30:.0f} GiB are free;"
                " choose smaller sizes"
            )
    names = [row.name for row in rows]
    if baseline is not None and baseline not in names:
        raise InvalidInput(f"--baseline {baseline}: is not in this run, which has {', '.join(names)}")
    return Request(
        rows=tuple(rows),
        workloads=tuple(workloads),
        tasks=tuple(name for name in TASKS if name in (task or PRESETS[preset])),
        device=chosen_device,
        threads=tuple(parse_threads(threads)),
        preset=preset,
        baseline=baseline or BASELINE,
        out=free_folder(out),
        command=_command(
            impl=[Path(name).name if name.endswith(".py") else name for name in impl],  # no folders of this machine
            workload=workload,
            task=task,
            device=[device],
            threads=threads,
            preset=[preset],
            shape=[shape] if shape else [],
            baseline=[baseline] if baseline else [],
        ),
    )


def choose_rows(names: Sequence[str]) -> list[Row]:
    """The rows of these names or files; all of the tree's where none is given.

    Raises:
        InvalidInput: there is no such row, or a file is not one.
    """
    known = find_rows()
    rows = []
    for name in names:
        if name in known:
            rows.append(known[name])
        elif name.endswith(".py"):
            path = Path(name).resolve()
            rows.append(read_row(path, HERE if path.is_relative_to(HERE) else None))
        else:
            raise InvalidInput(f"unknown row {name!r}; choose from {', '.join(known)}, or give a file that ends in .py")
    by_name: dict[str, Row] = {}
    for row in rows or known.values():
        if by_name.setdefault(row.name, row).path != row.path:
            raise InvalidInput(f"two files are called {row.name}; rename one")
    return list(by_name.values())


def choose_device(name: str) -> Device:
    """The device of that name.

    Raises:
        InvalidInput: there is none.
    """
    for device in DEVICES:
        if device == name:
            if device == "gpu" and not gpus():
                raise InvalidInput(
                    "--device gpu: `nvidia-smi -L` lists no NVIDIA device (is the driver installed?);"
                    " leave it out to run on the CPU"
                )
            return device
    raise InvalidInput(f"unknown device {name!r}; choose from {', '.join(DEVICES)}")


def free_folder(out: Path | None) -> Path:
    """A folder for the result that does not exist yet.

    Raises:
        InvalidInput: it exists already.
    """
    if out is None:
        stamp = datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
        return next(path for path in _numbered(LOCAL / stamp) if not path.exists())
    try:
        if not out.exists():
            return out
    except OSError as error:
        raise InvalidInput(f"--out {str(out)[:80]}: cannot be written ({error.strerror})") from None
    raise InvalidInput(f"--out {out}: exists already; choose another folder, or remove it")


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    yield from (path.with_name(f"{path.name}-{number}") for number in count(2))


def _command(**options: Sequence[str]) -> str:
    given = [(f"--{name}", *values) for name, values in options.items() if values]
    return shlex.join(["python", "-m", "bench", "run", *(word for words in given for word in words)])

"""All that a GPU machine is for, in order of value, in ten minutes: ``python studies/gpu.py OUT --wheels FOLDER``.

It needs nothing but Python: packages that the machine lacks come from a folder of wheels. Each part has a limit of its
own; what it has by then is kept and packed, and the next one begins. ``--rehearse`` does the same on a CPU, in small.
Afterwards, in a clone: unpack ``run.tar.gz``, and ``python -m bench publish`` it; the rest goes to ``results/method/``.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

PATIENCE_S = 20.0
"""So long a part may take to write what it has, once its time is up."""

REHEARSAL_S = 60.0
"""So long at most a part of a rehearsal takes."""

PYTHON = sys.executable, "-m"


class Part(NamedTuple):
    """A program, and how long it may take."""

    name: str
    words: tuple[str, ...]
    limit_s: float
    rehearsed: tuple[str, ...] | None = None
    """The words of a rehearsal on a CPU, where these are others."""


def parts(out: Path) -> list[Part]:
    """What is to be done, the most valuable first."""
    bench, run = (*PYTHON, "bench"), str(out / "run")
    small = ("--preset", "smoke", "--workload", "seed", "--impl", "torch/module", "jax/scan", "thinc/layers")
    values, width = (*PYTHON, "studies.values", str(out)), (*PYTHON, "studies.cudnn_width", str(out))
    return [
        Part("packages", (*PYTHON, "pip", "list"), 30),
        Part("driver", ("nvidia-smi",), 30, ("uname", "-a")),
        Part("machine", (*bench, "machine"), 30),
        Part("plan", (*bench, "run", "--device", "gpu", "--dry-run"), 30),
        Part("run", (*bench, "run", "--device", "gpu", "--out", run), 480, (*bench, "run", *small, "--out", run)),
        Part("values", (*values, "gpu"), 120, (*values, "cpu")),
        Part("cudnn_width", width, 60, (*width, "cpu")),
    ]


def carry_out(part: Part, out: Path, *, rehearse: bool) -> int | None:
    """Do a part; what it says is in a file. Its exit code; None where its time was up.

    A part is told so by SIGINT. What runs in the background ignores that, and so do its children, unless it handles it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with (out / f"{part.name}.txt").open("wb") as said:
        process = subprocess.Popen(
            (part.rehearsed if rehearse else None) or part.words,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(min(part.limit_s, REHEARSAL_S) if rehearse else part.limit_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S)
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def install(wheels: Path, site: Path) -> None:
    """Unpack the wheels where this program, and those that it starts, find them."""
    words = ["install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", *words, *map(str, sorted(wheels.glob("*.whl")))], check=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))


def main() -> int:
    """Do all parts; 1 where one did not go to its end."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("out", type=Path, help="an empty folder, or one to be made")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels of what this Python lacks")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, in small")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if found := next(out.iterdir(), None):
        parser.error(f"{out} holds {found.name}; name an empty folder")
    if options.wheels:
        if not any(options.wheels.glob("*.whl")):
            parser.error(f"--wheels {options.wheels}: holds no wheel")
        install(options.wheels, out / "site")
    failed = False
    for part in parts(out):
        began = time.monotonic()
        code = carry_out(part, out, rehearse=options.rehearse)
        failed |= code != 0
        how = "its time was up" if code is None else f"exit code {code}"
        print(f"{part.name}: {how}, {time.monotonic() - began:.0f} s", flush=True)
        folder = out / part.name
        if folder.is_dir():
            with tarfile.open(out / f"{part.name}.tar.gz", "w:gz") as packed:
                packed.add(folder, part.name)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

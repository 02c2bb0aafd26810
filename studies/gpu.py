"""All that a GPU machine is for, in order of value, in ten minutes: ``python studies/gpu.py OUT --wheels FOLDER``.

It needs nothing but Python: packages that the machine lacks come from a folder of wheels. Each part has a limit of its
own, and all have one together; what a part has by then is packed into ``OUT/gpu.tar.gz``, and the next one begins.
``--rehearse`` does the same on a CPU, in small. Afterwards, in a clone: unpack it, and ``python -m bench publish`` the
folder ``run``; the rest goes to ``results/method/``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import time
import venv
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types import FrameType

ROOT = Path(__file__).resolve().parent.parent

PACKED = "gpu.tar.gz"
"""What is to be taken home."""

PATIENCE_S = 20.0
"""So long a part may take to write what it has, once its time is up."""

ALL_S = 580.0
"""So long all parts may take together, where a machine gives a command ten minutes."""

REHEARSAL_S = 60.0
"""So long at most a part of a rehearsal takes."""

LEFT_OUT = ("cache", "numbers", "logs")
"""Folders of a run that are not packed: what was killed leaves gigabytes there."""


class Part(NamedTuple):
    """A program, and how long it may take."""

    name: str
    words: tuple[str, ...]
    limit_s: float
    rehearsed: tuple[str, ...] | None = None
    """The words of a rehearsal on a CPU, where these are others."""


def parts(python: str, work: Path) -> list[Part]:
    """What is to be done in the folder, the most valuable first."""
    bench, run = (python, "-m", "bench"), str(work / "run")
    small = ("--preset", "smoke", "--workload", "seed", "--impl", "torch/module", "jax/scan", "thinc/layers")
    values = (python, "-m", "studies.values", str(work))
    width = (python, "-m", "studies.cudnn_width", str(work))
    return [
        Part("packages", (python, "-m", "pip", "list"), 20),
        Part("driver", ("nvidia-smi",), 20, ("uname", "-a")),
        Part("plan", (*bench, "run", "--device", "gpu", "--dry-run"), 20),
        Part("run", (*bench, "run", "--device", "gpu", "--out", run), 460, (*bench, "run", *small, "--out", run)),
        Part("values", (*values, "gpu"), 120, (*values, "cpu")),
        Part("cudnn_width", (*width, "gpu"), 60, (*width, "cpu")),
        Part("machine", (*bench, "machine"), 30),
    ]


def carry_out(part: Part, work: Path, limit_s: float, *, rehearse: bool) -> int | None:
    """Do a part; what it says is in a file. Its exit code; None where its time was up.

    A part is told so by SIGINT. What runs in the background ignores that, and so do its children, unless it handles it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with (work / f"{part.name}.txt").open("wb") as said:
        try:
            process = subprocess.Popen(
                (part.rehearsed if rehearse else None) or part.words,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:  # a program that is not there
            said.write(f"{error}\n".encode())
            return error.errno
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:  # also where this program is to end
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def python_with(wheels: Path, folder: Path) -> str:
    """A Python that has what this one has, and the wheels before that; its children are such Pythons too."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    words = ["install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", *words, *map(str, sorted(wheels.glob("*.whl")))], check=True)
    own = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (site / "own.pth").write_text("".join(f"import site; site.addsitedir({place!r})\n" for place in own))
    return str(python)


def pack(work: Path, out: Path) -> None:
    """Pack all that there is by now, in the place of what was packed before."""

    def wanted(found: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if found.isdir() and Path(found.name).name in LEFT_OUT else found

    with tarfile.open(out / f".{PACKED}", "w:gz") as packed:
        packed.add(work, "gpu", filter=wanted)
    (out / f".{PACKED}").replace(out / PACKED)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Do all parts; 1 where one did not go to its end, 130 where this was ended."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("out", type=Path, help="an empty folder, or one to be made")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels of what this Python lacks")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, in small")
    options = parser.parse_args()
    began, out = time.monotonic(), options.out.resolve()
    if options.wheels and not any(options.wheels.glob("*.whl")):
        parser.error(f"--wheels {options.wheels}: holds no wheel")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if found := next(out.iterdir(), None):
            parser.error(f"{out} holds {found.name}; name an empty folder")
    except OSError as error:
        parser.error(f"{out}: {error.strerror}")
    if not options.rehearse and shutil.which("nvidia-smi") is None:
        parser.error("there is no nvidia-smi here, and so no NVIDIA GPU; --rehearse does the same on a CPU, in small")
    signal.signal(signal.SIGTERM, _interrupt)
    print(f"at most {ALL_S:.0f} s; after each part, all that there is stands in {out / PACKED}", flush=True)
    failed = False
    with TemporaryDirectory(prefix="gpu-") as name:
        work = Path(name, "work")
        work.mkdir()
        python = python_with(options.wheels, Path(name, "python")) if options.wheels else sys.executable
        for part in parts(python, work):
            part_began = time.monotonic()
            left_s = began + ALL_S - PATIENCE_S - part_began
            limit_s = min(part.limit_s, left_s, *([REHEARSAL_S] if options.rehearse else []))
            if limit_s <= 0:
                print(f"{part.name}: there was no time left", flush=True)
                failed = True
                continue
            print(f"{part.name}: at most {limit_s:.0f} s", flush=True)
            try:
                code = carry_out(part, work, limit_s, rehearse=options.rehearse)
            except KeyboardInterrupt:
                pack(work, out)
                print(f"{part.name}: interrupted", flush=True)
                return 130
            failed |= code != 0
            how = "its time was up" if code is None else f"exit code {code}"
            print(f"{part.name}: {how}, {time.monotonic() - part_began:.0f} s", flush=True)
            pack(work, out)
    if failed:
        print("not every part went to its end; what each said is in its .txt file there", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

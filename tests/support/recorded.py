"""Records of a run that never was: its head, its end, and lines between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.records.schema import (
    CONTROL,
    Block,
    Cell,
    CodeFacts,
    Effort,
    End,
    Environment,
    Line,
    Memory,
    PlanFacts,
    Record,
    Run,
    WorkloadFacts,
)
from bench.records.store import SCHEMA_VERSION, record_line, start_result

RUN = Run(
    schema_version=SCHEMA_VERSION,
    started_at="2026-01-31T12:00:00+00:00",
    command="python -m bench run",
    preset="default",
    baseline="torch/module",
    seed=1,
    plan=PlanFacts(
        seed=2,
        pools=[["torch/module", "jax/scan", "control"]],
        tasks=["forward"],
        threads=[1],
        precisions=["float32"],
        device="cpu",
        min_blocks=6,
        max_blocks=None,
        budget_s=600.0,
        first_block_s=60.0,
        min_blocks_s=300.0,
        turn_s=0.02,
        memory_limit_bytes=None,
    ),
    environment=Environment(
        machine="a-processor-2-cores",
        cpu="A Processor",
        cores=2,
        memory_bytes=2**34,
        os="Linux x86_64",
        python="3.11.7",
        versions={"torch": "2.13.0"},
        gpus=[],
        git_commit="0" * 40,
        git_dirty=False,
    ),
    workloads={
        "seed": WorkloadFacts(shape="E 10", sequences=2, source="the notebook"),
        "g2p": WorkloadFacts(shape="E 64", sequences=256, source="words"),
    },
    rows={name: CodeFacts(code=name, versions={"numpy": "2.4.6"}) for name in ("torch/module", "jax/scan")},
)


BLOCK = Block(
    block=1,
    started_at="2026-01-31T12:00:00+00:00",
    elapsed_s=9.0,
    records=1,
    product_s=[0.1, 0.1],
    load=0.5,
    steal=0.0,
    cold=True,
    phases_s={"start": 2.0, "compile": 3.0, "turns": 3.5},
)


END = End(why="decided", elapsed_s=61.5)


def cell(implementation: str = "torch/module", **fields: object) -> dict[str, Any]:
    """The fields of a cell."""
    values = {
        "implementation": implementation,
        "framework": implementation.partition("/")[0],
        "tier": "idiomatic",
        "workload": "seed",
        "task": "forward",
        "device": "cpu",
        "threads": 1,
    }
    return values | fields


def nested(implementation: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Those fields that are a cell's as its cell, the others as they are."""
    of_cell = {name: value for name, value in fields.items() if name in Cell.__struct_fields__}
    rest = {name: value for name, value in fields.items() if name not in of_cell}
    return {"cell": Cell(**cell(implementation, **of_cell)), **rest}


def record(implementation: str = "torch/module", **fields: object) -> Record:
    """A record that is ok unless told otherwise."""
    values = {
        "block": 1,
        "status": "ok",
        "samples_s": [0.001, 0.002, 0.003],
        "calls": 5,
        "max_relative_error": 2e-7,
    }
    return Record(**nested(implementation, values | fields))


def memory(implementation: str = "torch/module", **fields: object) -> Memory:
    """A peak that was measured unless told otherwise."""
    return Memory(**nested(implementation, {"status": "ok", "peak_bytes": 2**20, "source": "VmHWM"} | fields))


def renamed(record: Record, implementation: str) -> Record:
    """The same of another row."""
    return msgspec.structs.replace(record, cell=msgspec.structs.replace(record.cell, implementation=implementation))


def write(folder: Path, *lines: Line, run: Run = RUN) -> Path:
    """A result in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    start_result(run, folder)
    (folder / "records.jsonl").write_bytes(b"".join(map(record_line, lines)))
    return folder


EFFORT = Effort(
    workload="seed",
    task="forward",
    device="cpu",
    threads=1,
    turns=3,
    before=7,
    turn_sd=0.1,
    process_sd=0.02,
    round_s=1.0,
    around_s=4.0,
)


def six_blocks(*records: Record) -> list[Record]:
    """Six blocks of the records, and of the control's."""
    both = [*records, *(renamed(one, CONTROL) for one in records)]
    return [msgspec.structs.replace(one, block=block) for block in range(1, 7) for one in both]


def block_of(records: int, elapsed_s: float, **more: object) -> Block:
    plain = Block(block=1, started_at="", elapsed_s=elapsed_s, records=records, product_s=[], load=None, steal=None)
    return msgspec.structs.replace(plain, **more)


LONG = ("torch/cell_compiled", "thinc/pytorch_wrapper")


def a_whole_run(**fields: object) -> list[Line]:
    """Ten blocks of rows with long names, with each of the verdicts, and what is noticed."""
    ratios = {"torch/module": 1.0, CONTROL: 1.0, "jax/scan": 0.5, LONG[0]: 12.4, LONG[1]: 1.001, "torch/unclear": 1.1}
    rng = np.random.default_rng(1)
    lines: list[Line] = []
    for block in range(1, 11):
        for name, ratio in ratios.items():
            rough = 0.3 if name == "torch/unclear" else 0.001
            seconds = (0.12345 * ratio * rng.lognormal(0, rough) * rng.lognormal(0, 1e-4, 7)).tolist()
            flags = ["contended", "throttled"] if name == LONG[0] else []
            compiles = 123.4 if name in LONG else None
            costs = {"import_s": 1.5, "build_s": 0.1, "first_call_s": 130.0, "compile_s": compiles}
            lines.append(record(name, block=block, samples_s=seconds, flags=flags, **(costs | fields)))
        lines.append(msgspec.structs.replace(BLOCK, block=block))
    lines += [memory(name, **{key: fields[key] for key in fields if key != "samples_s"}) for name in ratios]
    lines.append(record("thinc/greedy_wrapper", status="out_of_memory", reason="it was greedy", samples_s=[], **fields))
    return [*lines, END]


DIRTY = msgspec.structs.replace(RUN.environment, git_dirty=True)


def head(**fields: object) -> Callable[[Path], object]:
    """A change of the run's head."""

    def change(folder: Path) -> None:
        (folder / "run.json").write_text(json.dumps(json.loads((folder / "run.json").read_text()) | fields))

    return change

"""Results that pages are made of, pretended: with some noise, the same in each call."""

from __future__ import annotations

import random
from itertools import combinations
from math import exp, log
from typing import TYPE_CHECKING

import msgspec
from support.recorded import BLOCK, END, RUN, record, write

from bench.analysis.analysis import Analysis
from bench.page import build
from bench.page.data import COLUMNS, Logarithms, PageData, PageGroup, PageResult
from bench.records.schema import CONTROL, CodeFacts, Record
from bench.records.store import read_result

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.records.schema import Result, Run

SPEED = {"torch/module": 0.002, "torch/cell": 0.004, "jax/scan": 0.001, "thinc/layers": 0.003, CONTROL: 0.002}


GRID = [
    digits * 10.0**power
    for power in range(-7, 6)
    for digits in (1.0, 1.234, 4.996, 9.994, 9.996, 9.9949, 9.9951, 9.9999)
]
"""Values on both sides of where another unit or one digit less begins; none is half way between two last digits."""


def noisy(
    name: str = "torch/module", *, seconds: float | None = None, blocks: int = 6, **fields: object
) -> list[Record]:
    """A row's records in so many blocks, with some noise: the same in each call."""
    drawn = random.Random(f"{name}{sorted(fields.items(), key=str)}")
    middle = SPEED.get(name, 0.002) if seconds is None else seconds
    return [
        record(name, block=block, samples_s=[middle * exp(drawn.gauss(0, 0.01)) for _ in range(8)], **fields)
        for block in range(1, blocks + 1)
    ]


def run_of(*names: str) -> list[Record]:
    """The rows, and the control, at two workloads and tasks; thinc/layers does not train."""
    found = []
    for name in (*names, CONTROL):
        tier = "loop" if name == "torch/cell" else "idiomatic"
        for workload in ("seed", "g2p"):
            for task in ("forward", "train_step"):
                where = {"workload": workload, "task": task, "tier": tier}
                if name == "thinc/layers" and task == "train_step":
                    found.append(
                        record(
                            name,
                            status="unsupported",
                            reason="an engine for inference",
                            block=0,
                            **where | {"samples_s": []},
                        )
                    )
                    continue
                more = {"compile_s": 1.5} if name == "jax/scan" else {}
                found += noisy(name, import_s=0.5, build_s=0.1, **where, **more)
    return found


def several_runs(folder: Path) -> list[Result]:
    """Two runs of one machine, in the second of which jax/scan has become slower, and one of another machine."""
    changed = RUN.rows | {"jax/scan": CodeFacts(code="another", versions={"jax": "0.10.2"})}
    later = msgspec.structs.replace(RUN, started_at="2026-02-28T12:00:00+00:00", rows=changed)
    elsewhere = msgspec.structs.replace(RUN.environment, machine="another-processor", cpu="Another Processor")
    other = msgspec.structs.replace(RUN, environment=elsewhere, started_at="2026-02-01T12:00:00+00:00")
    rows = ("torch/module", "jax/scan", "thinc/layers", "torch/cell")
    named = RUN.rows | {name: CodeFacts(code=name, versions={"numpy": "2.4.6"}) for name in rows}

    def run(name: str, head: Run, scan_s: float) -> Result:
        own = [one for row in (*rows, CONTROL) for one in noisy(row, seconds=scan_s if row == "jax/scan" else None)]
        lines = [msgspec.structs.replace(one, started_at=name) for one in own]  # each was measured again
        whole = msgspec.structs.replace(head, rows=named | {"jax/scan": head.rows["jax/scan"]})
        return read_result(write(folder / name, *lines, BLOCK, END, run=whole))

    return [run("first", RUN, 0.001), run("second", later, 0.0015), run("elsewhere", other, 0.0012)]


def big_page(
    groups: int, rows: int, *, values: Sequence[dict[str, float]] | None = None, raw: Result | None = None
) -> str:
    """A page of many cells, whose numbers are drawn, or of some rows given; with the raw files of ``raw``."""
    drawn = random.Random(1)

    def mde(one: int, other: int) -> float:
        return values[max(one, other)]["detectable"] if values else 0.03

    pairs = list(combinations(range(rows), 2))
    found = []
    for number in range(groups):
        template = dict.fromkeys([*COLUMNS, "result"])
        middles = [drawn.uniform(0.001, 0.1) for _ in range(rows)]
        cells = [
            template
            | {
                "implementation": f"row-{place}",
                "framework": ("torch", "jax", "thinc")[place % 3],
                "tier": ("idiomatic", "loop", "tuned")[place % 3],
                "workload": f"shape-{number // 4}",
                "shape": "E 64, H 128",
                "task": ("forward", "train_step")[number % 2],
                "device": "cpu",
                "precision": "float32",
                "threads": 1 + number // 2 % 2,
                "status": "ok",
                "rank": str(place + 1),
                "median_s": middle,
                "ci_low_s": middle * 0.98,
                "ci_high_s": middle * 1.02,
                "per_sequence_s": middle / 64,
                "tokens_per_s": 20 * 64 / middle,
                "ratio": middle / middles[0],
                "ratio_low": 0.98 * middle / middles[0],
                "ratio_high": 1.02 * middle / middles[0],
                "verdict": "UNCLEAR",
                "detectable": 0.03,
                "baseline": "row-0",
                "peak_bytes": drawn.randrange(2**20, 2**28),
                "blocks": 6,
                "samples": 360,
                "disturbed": 3,
                "outliers": 1,
                "flops": 10**9,
                "flops_per_s": 1e9 / middle,
                "machine_flops_per_s": 2e12,
                "machine_share": 0.3,
                "bound_share": 0.5,
                "bound_share_low": 0.49,
                "bound_share_high": 0.51,
                "flags": "",
                "result": "",
            }
            | (values[place] if values else {})
            for place, middle in enumerate(middles)
        ]
        found.append(
            msgspec.convert(
                {
                    "result": 0,
                    "label": f"shape-{number // 4} {('forward', 'train_step')[number % 2]} cpu×{1 + number // 2 % 2}",
                    "rows": cells,
                    "fixed_s": [drawn.uniform(0.5, 5) for _ in range(rows)],
                    "compared": list(range(rows)),
                    "ratios": [
                        Logarithms(log(middles[one] / middles[other]), -0.1, 0.1, "UNCLEAR", mde(one, other))
                        for one, other in pairs
                    ],
                },
                PageGroup,
                strict=False,
            )
        )
    result = PageResult(
        name="big",
        letter="A",
        machine="a-machine",
        started_at=RUN.started_at,
        command="python -m bench run",
        baseline="row-0",
        sentence="On a machine, nothing is decided yet.",
        end="6 blocks",
        control="control",
        doubt="",
        facts={"processor": "A Processor", "preset": "default", "commit": "0" * 40},
        workloads={},
    )
    return build.page(
        PageData([result], found, {name: [] for name in ("points", "maps", "moments", "machines", "drift", "spent")}),
        [Analysis(raw)] if raw else [],
    )


def result_of(
    folder: Path,
    *rows: str,
    began: str = "2026-01-31",
    tasks: tuple[str, ...] = ("forward", "train_step"),
    budget_s: float = 1200,
) -> Result:
    own = [one for row in rows for task in tasks for one in noisy(row, task=task)]
    facts = {row: CodeFacts(code=row, versions={}) for row in rows}
    run = msgspec.structs.replace(RUN, started_at=f"{began}T12:00:00+00:00", rows=facts)
    run = msgspec.structs.replace(run, plan=msgspec.structs.replace(run.plan, budget_s=budget_s))
    return read_result(write(folder, *own, END, run=run))

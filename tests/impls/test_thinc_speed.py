"""``thinc/layers`` is written as well as its framework allows: it keeps up with the same recurrence in plain NumPy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.frameworks import need
from support.processes import python

from bench.measure.worker_environment import worker_environment

if TYPE_CHECKING:
    from pathlib import Path

MOST = 1.5
SHAPES = ("seed", "latency", "hidden_dim=128,embedding_dim=64,batch_size=64,sequence_length=7,output_seq_length=6")

SCRIPT = f"""
import numpy as np
from bench.workloads.reference_outputs import draw_batches
from bench.workloads.shapes import WORKLOADS, parse_shape
from impls import find_rows, load_row
from impls.contract import TASKS, initial_parameters
from impls.reference import Reference
from support.pairing import paired_ratio

for name in {SHAPES!r}:
    workload = WORKLOADS.get(name) or parse_shape(name)
    parameters = initial_parameters(workload.config, 0)
    batch = draw_batches(workload)[0][0]
    ours = load_row(find_rows()["thinc/layers"], workload.config, parameters).row
    plain = Reference(workload.config, parameters, np.float32)
    for task in TASKS:
        arguments = batch.arguments(task)
        ratio = paired_ratio(lambda: getattr(ours, task)(*arguments), lambda: getattr(plain, task)(*arguments))
        print(workload.name, task, ratio)
"""


@pytest.mark.thorough
def test_thinc_layers_keeps_up_with_plain_numpy(tmp_path: Path) -> None:
    need("thinc")
    environment = worker_environment(os.environ, threads=1, device="cpu", cache=tmp_path)
    environment["PYTHONPATH"] += os.pathsep + os.path.join(environment["PYTHONPATH"], "tests")  # noqa: PTH118
    done = python("-c", SCRIPT, env=environment)
    assert done.returncode == 0, done.stderr
    ratios = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in done.stdout.splitlines()}
    assert len(ratios) == 4 * len(SHAPES)
    assert max(ratios.values()) <= MOST, ratios
    print(done.stdout)

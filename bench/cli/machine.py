"""``bench machine``."""

from __future__ import annotations

import sys
from dataclasses import replace

from bench.calibration.calibrate import measure_accuracy
from bench.cli.main import stdout
from bench.machine.cpus import spin
from bench.machine.facts import read_facts
from bench.machine.gpu import gpus
from bench.machine.warnings import warnings_of
from bench.measure.worker_environment import blas_of_workers
from bench.report.machine_text import render


def machine() -> None:
    """Show what about this machine makes times uncertain, and how to fix it. Changes no setting.

    An example:
      python -m bench machine
    """
    print("bench: looks at the machine, then lets identical workers take turns for half a minute", file=sys.stderr)
    facts = replace(read_facts(during=spin, gpus=gpus()), blas=blas_of_workers())
    stdout().print(*render(facts, warnings_of(facts), measure_accuracy()), sep="\n")

"""``bench run``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from bench.cli.app import stderr
from bench.cli.show import show
from bench.measure.plan import Plan
from bench.measure.request import Options, check_request
from bench.measure.run import check_resume, go_on
from bench.measure.run import run as carry_out
from bench.records.schema import Result
from bench.report.progress import Progress

DEFAULT = Options()


def run(options: Annotated[Options, Parameter(name="*", show_default=False)] = DEFAULT) -> int:
    """Measure, write a result folder, and show the table.

    Some examples:
      python -m bench run --preset smoke
      python -m bench run --impl mine.py --against torch/module
      python -m bench run --impl torch/module jax/scan --workload g2p --task train_step
      python -m bench run --impl mine.py torch/module --shape hidden_dim=256,batch_size=32
      python -m bench run --sweep hidden_dim=64:2048 --shape batch_size=32
      python -m bench run --interpreter 2.9.1=old/bin/python 2.13.0=new/bin/python
      python -m bench run --resume results/local/2026-01-31T12-00-00
    """
    console = stderr()

    def watching(plan: Plan, begun: Result) -> Progress:
        return Progress(plan, begun, console)

    if options.resume is not None:
        work = go_on(check_resume(options), watching)
    else:
        work = carry_out(check_request(options), watching)
    with work as ended:  # what draws would disturb another run
        return show(ended, console)

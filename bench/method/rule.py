"""What the rule of verdicts does, by simulation: ``python -m bench.method.rule FOLDER``.

How often identical rows are told apart under each kind of noise that `stats.LEVEL` was chosen for, and under a stronger
drift than those have; and what the rule finds within twelve blocks where the noise is quiet.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bench.method.keep import keep, paths
from bench.method.simulate import NOISES, Rates, contaminated, drifting, error_rate, normal
from bench.records import Struct
from bench.report.markdown import table
from bench.report.units import percent
from bench.stats import LEVEL, MIN_BLOCKS, PRACTICAL

if TYPE_CHECKING:
    from collections.abc import Sequence

RAW_FILE = "rule.json"
TABLE_FILE = "rule.md"
COMPARISONS = 40_000
"""Of identical rows, for each kind of noise."""

LOOKS = 40
"""At most so many blocks, where it is asked how often the rule errs."""

FEW = 12
"""At most so many, where it is asked what it finds."""

BEYOND = {
    "drifting 0.05, a fifth of the variance": drifting(0.05, share=0.2),
    "drifting 0.05, half of the variance": drifting(0.05, share=0.5),
}
"""Noise that `LEVEL` was not chosen for: what the rule's promise rests on."""

QUIET = {
    **{f"Gaussian {percent(sd)}": normal(sd) for sd in (0.005, 0.007, 0.01, 0.015, 0.02)},
    "Gaussian 0.7 %, one process in twelve slower by 10 to 50 %": contaminated(0.007),
}
EFFECTS = (0.0, 0.03, 0.05)


class Power(Struct, frozen=True, kw_only=True):
    """What is found in one kind of noise, effect by effect."""

    noise: str
    rates: list[Rates]


class Simulation(Struct, frozen=True, kw_only=True):
    """All that was simulated, with the level that it is about."""

    level: float
    errors: dict[str, Rates]
    beyond: dict[str, Rates]
    power: list[Power]


def measure() -> Simulation:
    """About a minute of simulated comparisons."""
    errors, beyond = (
        {name: error_rate(noise, comparisons=COMPARISONS, most_blocks=LOOKS) for name, noise in noises.items()}
        for noises in (NOISES, BEYOND)
    )
    power = [
        Power(
            noise=name,
            rates=[error_rate(noise, effect, comparisons=COMPARISONS // 4, most_blocks=FEW) for effect in EFFECTS],
        )
        for name, noise in QUIET.items()
    ]
    return Simulation(level=LEVEL, errors=errors, beyond=beyond, power=power)


def worst(simulation: Simulation) -> Rates:
    """Where identical rows are most often told apart, of the noise that the level was chosen for."""
    return max(simulation.errors.values(), key=lambda rates: rates.wrong)


def bounded(rates: Rates) -> str:
    """``0.64 % [0.57, 0.73]``: how often the rule was wrong, with 95 % bounds."""
    low, high = rates.wrong_bounds
    return f"{100 * rates.wrong:.2f} % [{100 * low:.2f}, {100 * high:.2f}]"


def report(simulation: Simulation) -> str:
    """The tables, in Markdown."""
    errors = [
        [name, bounded(rates), percent(rates.same), percent(rates.unclear), f"{rates.mean_blocks:.1f}"]
        for name, rates in (*simulation.errors.items(), *simulation.beyond.items())
    ]
    power = [
        [
            one.noise,
            *(percent(rates.found) for rates in one.rates[1:]),
            percent(one.rates[0].same),
            ", ".join(f"{rates.mean_blocks:.1f}" for rates in one.rates),
        ]
        for one in simulation.power
    ]
    effects = ", ".join(f"{100 * effect:.0f}" for effect in EFFECTS)
    return (
        f"# What the rule does, simulated\n\n`python -m bench.method.rule`, level {simulation.level:g}, practical"
        f" threshold {100 * PRACTICAL:.0f} %. The kinds of noise are those of `bench/method/simulate.py`.\n\n"
        "## Identical rows\n\n"
        f"A false FASTER or SLOWER, where the rule looks after each block from {MIN_BLOCKS} to {LOOKS} and stops at its"
        f" first verdict: {COMPARISONS:,} comparisons each, with 95 % Clopper-Pearson bounds. The"
        f" worst of those that the level was chosen for is {bounded(worst(simulation))}; the last"
        f" {len(simulation.beyond)} are none of them.\n\n"
        + table(["noise", "false FASTER or SLOWER", "SAME", "UNCLEAR", "blocks"], errors)
        + f"\n## What {FEW} blocks find\n\n{COMPARISONS // 4:,} comparisons each.\n\n"
        + table(["noise", "3 % found", "5 % found", "identical rows SAME", f"blocks at {effects} %"], power)
    )


def main(arguments: Sequence[str]) -> int:
    """Simulate, or, with a folder that has the rates, make the table anew."""
    (folder,) = paths(arguments, "bench.method.rule FOLDER")
    print(keep(folder / RAW_FILE, Simulation, measure, report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

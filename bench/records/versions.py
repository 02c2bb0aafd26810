"""Names of rows that are measured once for each version of a framework: ``torch/module@2.9.1``. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench.records.schema import FAILURES, SIGN
from bench.workloads.sweeps import SCALING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records.schema import Cell, Record, Run


class Versioned(NamedTuple):
    """A row, and under what version it was measured; an empty one where a run has only one."""

    row: str
    version: str


def split(name: str) -> Versioned:
    """What a name in a result stands for: ``torch/module@2.9.1``, or ``torch/module`` without a version."""
    row, _, version = name.partition(SIGN)
    return Versioned(row, version)


def join(row: str, version: str) -> str:
    """The name in a result: what ``split`` takes apart."""
    return f"{row}{SIGN}{version}" if version else row


def by_number(name: str) -> tuple[str, list[int], str]:
    """What sorts names: by row, then by the numbers of the version, so that 2.9.1 comes before 2.13.0."""
    row, version = split(name)
    return row, [int(number) for number in re.findall(r"[0-9]+", version)], version


def versions_of(run: Run) -> list[str]:
    """The versions that a run holds against each other, in the order in which they were given; none in other runs."""
    return [version for version in dict.fromkeys(split(name).version for name in run.rows) if version]


def packages_of(run: Run) -> dict[str, dict[str, str]]:
    """Version to the packages, and their numbers, that its rows had and that are not the same under all versions."""
    found: dict[str, dict[str, str]] = {version: {} for version in versions_of(run)}
    for name, facts in run.rows.items():
        if version := split(name).version:
            found[version] |= facts.versions
    names = dict.fromkeys(name for packages in found.values() for name in packages)
    differ = [name for name in names if len({packages.get(name) for packages in found.values()}) > 1]
    return {version: {name: own[name] for name in differ if name in own} for version, own in found.items()}


def package_of(run: Run) -> str:
    """The package whose versions the run holds against each other: it has each, up to a build's own suffix; or ""."""
    of_versions = packages_of(run)
    for name in dict.fromkeys(name for packages in of_versions.values() for name in packages):
        if all(own.get(name, "").partition("+")[0] == version for version, own in of_versions.items()):
            return name
    return ""


def failures_of(records: Sequence[Record]) -> list[Record]:
    """The failures that count against a run: those of a row that does not work under another version either."""
    failures = [record for record in records if record.status in FAILURES]
    failed = {record.cell for record in failures}
    works = {_without_version(record) for record in records if record.ok and record.cell not in failed}
    return [record for record in failures if not (record.cell.version and _without_version(record) in works)]


def _without_version(record: Record) -> Cell:
    return msgspec.structs.replace(record.cell, implementation=record.cell.row)


def compares_rows(run: Run) -> bool:
    """Whether a run says which row to choose: neither the preset ``scaling`` nor one of several versions does."""
    return run.preset != SCALING and not versions_of(run)

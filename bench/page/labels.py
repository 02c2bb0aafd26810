"""What groups are called on a page. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import units

if TYPE_CHECKING:
    from bench.records.schema import Group


def label_of(group: Group) -> str:
    """``g2p train_step cpu×1``."""
    return f"{group.workload} {group.task} {units.place(group.device, group.threads, group.precision)}"

"""Requests of rows and Pythons that are only pretended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from support.pretend import row as pretended

from bench.machine.interpreters import Interpreter
from bench.measure.plan import BUDGETS
from bench.measure.request import Request
from bench.records.schema import CodeFacts
from bench.records.versions import join
from bench.workloads.shapes import SEED
from impls import Row

ABLE = {"a": {}, "b": {"precisions": ("float32",)}, "c": {"unsupported": {"forward": "c does not"}}, "d": {}}


ROWS_OF = {name: pretended(f"{name}/row", frameworks=(name,), **able) for name, able in ABLE.items()}


BOUNDS = tuple(pretended(f"{name}/products", frameworks=(name,), tier="bound") for name in ("a", "c"))


def python_of(version: str, *lacks: str) -> Interpreter:
    """A Python that has what the rows above need, but for some of it."""
    return Interpreter(version, Path("/python"), "3.11", frozenset({*ABLE} - {*lacks}), {})


def facts_of(row: Row, _: Interpreter, *, trained: bool = False) -> CodeFacts:
    return CodeFacts(code=row.name, versions={})


def request_of(
    names: Sequence[str], interpreters: tuple[Interpreter, ...], baseline: str = "", **more: object
) -> Request:
    rows = tuple(ROWS_OF[name] for name in names)
    values = {
        "rows": rows,
        "interpreters": interpreters,
        "bounds": (),
        "workloads": (SEED,),
        "tasks": ("encode", "forward"),
        "device": "cpu",
        "threads": (1,),
        "precisions": ("float32",),
        "preset": "default",
        "budget": BUDGETS["default"],
        "baseline": baseline or join(rows[0].name, interpreters[0].version),
        "out": Path("out"),
        "command": "",
    }
    return Request(**(values | more))

"""The models: one folder a framework, one file a row of the table. Finds the rows without importing any framework.

A row is a file ``impls/FRAMEWORK/VARIANT.py`` (an underscore in front makes it no row) that offers

- ``ROW``, a literal dict, readable without running the file (``Row`` says what may stand in it);
- ``load(config, parameters, device)``, which gives a ``contract.Implementation``.

    from impls import find_rows, load_row
    model = load_row(find_rows()["torch/module"], config, parameters)   # a NumpyModel
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impls.contract import DEVICES, TASKS, InvalidInput
from impls.numpy_model import NumpyModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from impls.contract import Implementation, Parameters, Seq2seqConfig

HERE = Path(__file__).resolve().parent

TIERS = {
    "idiomatic": "what the framework's documentation tells people to write",
    "loop": "the cell written out step by step",
    "kernel": "the framework's own fused LSTM kernel, reached outside its documented layer",
    "tuned": "the fastest correct version known in that framework",
    "wrapper": "one framework running another's kernels",
    "engine": "a deployment runtime, inference only",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a row file says of itself, and where it stands."""

    name: str
    path: Path
    tier: str
    summary: str
    frameworks: tuple[str, ...]
    """What it may import, by import name; the first is the framework it counts under."""
    devices: tuple[str, ...] = ("cpu", "gpu")
    unsupported: dict[str, str] = field(hash=False)
    """Task, or device, to the reason why the row cannot do it."""
    compiles: bool = False
    """Whether a call on a new shape compiles: a first call that is not a measure of the others."""
    environment: dict[str, str] = field(hash=False)
    """Environment variables that the row needs before Python starts."""

    @property
    def framework(self) -> str:
        """The framework it counts under."""
        return self.frameworks[0]

    def missing(self) -> str | None:
        """Why the row cannot run here (the framework that is not installed), or None."""
        for name in self.frameworks:
            if importlib.util.find_spec(name) is None:
                return f"{name} is not installed"
        return None


def find_rows(root: Path = HERE) -> dict[str, Row]:
    """Every row in the tree, by name, framework by framework. Imports none of them.

    Raises:
        InvalidInput: a row file does not parse, or its ROW is not as it has to be.
    """
    files = sorted(path for path in root.glob("*/*.py") if not path.name.startswith("_"))
    return {row.name: row for row in (read_row(path, root) for path in files)}


def read_row(path: Path, root: Path | None = None) -> Row:
    """The row that a file describes; its name is its place under ``root``, or the file's own name.

    Raises:
        InvalidInput: the file is absent, does not parse, or its ROW is missing or wrong. The message names the line.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise InvalidInput(f"{path}:{line}: does not parse as Python ({getattr(error, 'msg', error)})") from None
    name = path.relative_to(root).with_suffix("").as_posix() if root else path.stem
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "ROW" for t in node.targets):
            row = _row(name, path, node)
            if "load" not in _names(tree):
                raise InvalidInput(f"{path}:{node.lineno}: has no load(config, parameters, device)")
            return row
    raise InvalidInput(f"{path}:1: has no ROW = {{...}}; see `python -m bench new row --help` for a template")


def import_row(row: Row) -> ModuleType:
    """The row's module, loaded by its location, so that no folder of rows ever comes onto the path.

    Whatever the file itself raises passes through.
    """
    inside = row.path.resolve().is_relative_to(HERE)
    name = "impls." + ".".join(row.path.resolve().relative_to(HERE).with_suffix("").parts) if inside else row.name
    if inside:
        module = importlib.import_module(name)
    else:
        spec = importlib.util.spec_from_file_location(f"row_{row.path.stem}", row.path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses and pickling look their module up
        spec.loader.exec_module(module)
    return module


def build_row(row: Row) -> Callable[[Seq2seqConfig, Parameters, str], Implementation]:
    """The row's ``load``."""
    build: Callable[[Seq2seqConfig, Parameters, str], Implementation] = import_row(row).load
    return build


def load_row(row: Row, config: Seq2seqConfig, parameters: Parameters, device: str = "cpu") -> NumpyModel:
    """The row with these weights, for NumPy users."""
    return NumpyModel(build_row(row), config, parameters, device)


def _names(tree: ast.Module) -> set[str]:
    """What a module defines, imports or assigns at its top."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _row(name: str, path: Path, node: ast.Assign) -> Row:
    def wrong(what: str) -> InvalidInput:
        return InvalidInput(f"{path}:{node.lineno}: {what}")

    try:
        fields: Any = ast.literal_eval(node.value)
    except ValueError:
        raise wrong("ROW must be a literal: it is read without running the file") from None
    if not isinstance(fields, dict):
        raise wrong("ROW must be a dict")
    known = {"tier", "summary", "frameworks", "devices", "unsupported", "compiles", "environment"}
    if unknown := sorted(str(key) for key in fields.keys() - known):
        raise wrong(f"ROW has an unknown entry {unknown[0]!r}; known: {', '.join(sorted(known))}")
    for key in ("tier", "summary", "frameworks"):
        if key not in fields:
            raise wrong(f"ROW lacks {key!r}")
    if fields["tier"] not in TIERS:
        raise wrong(f"ROW has tier {fields['tier']!r}; choose from {', '.join(TIERS)}")
    if not fields["frameworks"]:
        raise wrong("ROW names no framework")
    devices = tuple(fields.get("devices", DEVICES))
    if not devices or (unknown := sorted(set(devices) - set(DEVICES))):
        raise wrong(f"ROW has devices {list(devices)}; choose from {', '.join(DEVICES)}")
    unsupported = dict(fields.get("unsupported", {}))
    if unknown := sorted(unsupported.keys() - {*TASKS, *DEVICES}):
        raise wrong(f"ROW says that {unknown[0]!r} is unsupported; there is no such task or device")
    return Row(
        name=name,
        path=path,
        tier=fields["tier"],
        summary=fields["summary"],
        frameworks=tuple(fields["frameworks"]),
        devices=devices,
        unsupported=unsupported,
        compiles=bool(fields.get("compiles", False)),
        environment=dict(fields.get("environment", {})),
    )

"""The models: one folder a framework, one file a row of the table. It finds them without importing a framework.

A row is a file ``impls/FRAMEWORK/VARIANT.py`` (an underscore in front makes it no row) that offers

- ``ROW``, a literal dict, readable without running the file (``Row`` says what may stand in it);
- ``load(config, parameters, device)``, which gives a ``contract.Implementation``. For a shape that it does not have, it
  raises ``NotImplementedError`` with the reason: there the row is ``unsupported``.

A file of the tier ``bound`` is no row of the table, but what rows are held against: the products of its framework,
which its ``load(device)`` gives (``products.Multiplier``). ``find_rows`` passes it over, ``find_bounds`` finds it.

    from impls import find_rows, load_row
    model = load_row(find_rows()["torch/module"], config, parameters)   # a NumpyModel
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import msgspec

from impls.contract import DEVICES, Device, InvalidInput, Precision, Task, Variant
from impls.numpy_model import NumpyModel
from impls.settings import SETTINGS, Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from impls.contract import Implementation, Parameters, Seq2seqConfig

HERE = Path(__file__).resolve().parent

Tier = Literal["idiomatic", "loop", "kernel", "tuned", "wrapper", "engine", "bound"]
"""What kind of program a row is; ``docs/definitions.md`` says what each means."""

ImportName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def is_installed(name: str) -> bool:
    """Whether a package can be imported. It is not."""
    return importlib.util.find_spec(name) is not None


class RowFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a row file says of itself: the literal ``ROW``."""

    tier: Tier
    summary: str
    frameworks: Annotated[tuple[ImportName, ...], msgspec.Meta(min_length=1)]
    """What it may import; the first is the framework it counts under."""
    devices: Annotated[tuple[Device, ...], msgspec.Meta(min_length=1)] = ("cpu", "gpu")
    unsupported: dict[Task | Device | Variant, str] = {}
    """Task, device or variant to the reason why the row cannot do it."""
    compiles: bool | tuple[Device, ...] = False
    """Whether, or on which devices, a call on a new shape compiles: a first call that measures none of the others."""
    precisions: Annotated[tuple[Precision, ...], msgspec.Meta(min_length=1)] = ("float32", "tf32")
    """In which precisions it can compute; TF32 is the device's affair, bfloat16 the row's."""
    environment: dict[str, str] | tuple[Setting, ...] = {}
    """Environment variables that the row needs before Python starts, or names of ``settings.SETTINGS``."""
    environment_with: dict[str, dict[str, str]] = {}
    """Feature of the processor, as ``/proc/cpuinfo`` names it, to variables that the row needs where it is there."""
    multiplies_with: ImportName | None = None
    """The framework that makes its matrix products, where that is not the one it counts under."""


class Row(RowFacts, frozen=True, kw_only=True):
    """What a row file says of itself, and where it stands."""

    name: str
    path: Path
    environment: dict[str, str] = {}
    """Environment variables that the row needs before Python starts."""
    fault: str | None = None
    """What is wrong with the file, where it cannot be read."""

    def __hash__(self) -> int:
        return hash((self.name, self.path))

    @property
    def framework(self) -> str:
        """The framework it counts under."""
        return self.frameworks[0]

    @property
    def is_bound(self) -> bool:
        """Whether it is no model, but what models are held against."""
        return self.tier == "bound"

    @property
    def multiplier(self) -> str:
        """The framework whose bound it is held against: that which makes its products."""
        return self.multiplies_with or self.framework

    def compiles_on(self, device: Device) -> bool:
        """Whether a call on a new shape compiles there."""
        return device in self.compiles if isinstance(self.compiles, tuple) else self.compiles

    def missing(self, has: Callable[[str], bool] = is_installed) -> str | None:
        """Why the row cannot run here (a broken file, a framework that is not installed), or None.

        ``has``: whether a framework is there; asked of this Python if not given.
        """
        if self.fault:
            return self.fault
        return next((f"{name} is not installed" for name in self.frameworks if not has(name)), None)


def find_rows(root: Path = HERE) -> dict[str, Row]:
    """Every row in the tree, by name, framework by framework; a broken file is a row with a fault. Imports none."""
    return {name: row for name, row in _found(root).items() if not row.is_bound}


def find_bounds(root: Path = HERE) -> dict[str, Row]:
    """Every framework's bound, by framework: of those that have one. Imports none.

    Raises:
        InvalidInput: a framework has two.
    """
    bounds: dict[str, Row] = {}
    for row in _found(root).values():
        if row.is_bound and bounds.setdefault(row.framework, row) is not row:
            raise InvalidInput(f"{row.name}: {row.framework} has a bound already, {bounds[row.framework].name}")
    return bounds


def _found(root: Path) -> dict[str, Row]:
    rows = {}
    for path in sorted(path for path in root.glob("*/*.py") if not path.name.startswith("_")):
        try:
            row = read_row(path, root)
        except InvalidInput as error:
            name = path.relative_to(root).with_suffix("").as_posix()
            folder = (path.parent.name,)
            row = Row(tier="loop", summary="", frameworks=folder, name=name, path=path, fault=str(error))
        rows[row.name] = row
    return rows


def read_row(path: Path, root: Path | None = None) -> Row:
    """The row that a file describes; its name is its place under ``root`` or in this package, or the file's own name.

    Raises:
        InvalidInput: the file is absent, does not parse, or its ROW is missing or wrong. The message names the line.
    """
    root = HERE if root is None and path.is_relative_to(HERE) else root
    shown = path.relative_to(root.parent) if root else path.name
    try:
        tree = parse(path)
    except OSError as error:
        raise InvalidInput(f"{shown}: cannot be read ({error.strerror})") from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise InvalidInput(f"{shown}:{line}: does not parse as Python ({getattr(error, 'msg', error)})") from None
    assigned = _assigned(tree, "ROW")
    if assigned is None:
        raise InvalidInput(f"{shown}:1: has no ROW = {{...}}; `python -m bench new row` writes a template")
    line, value = assigned

    def wrong(what: str) -> InvalidInput:
        return InvalidInput(f"{shown}:{line}: {what}")

    try:
        facts = msgspec.convert(ast.literal_eval(value), type=RowFacts, strict=True)
    except msgspec.ValidationError as error:
        choices = f"; choose from {', '.join(get_args(Tier))}" if "$.tier" in str(error) else ""
        raise wrong(f"ROW is not as it has to be: {error}{choices}") from None
    except (ValueError, TypeError):
        raise wrong("ROW must be a literal: it is read without running the file") from None
    if without := [device for device in DEVICES if {device}.isdisjoint({*facts.devices, *facts.unsupported})]:
        raise wrong(f"ROW leaves out the device {without[0]!r}; say why in 'unsupported'")
    if facts.multiplies_with not in (None, *facts.frameworks):
        raise wrong(f"ROW multiplies with {facts.multiplies_with!r}, which is not among its frameworks")
    if load_line(tree) is None:
        raise wrong("there is no load(config, parameters, device)")
    name = path.relative_to(root).with_suffix("").as_posix() if root else path.stem
    own = msgspec.structs.asdict(facts) | {"environment": _variables(facts.environment)}
    return Row(**own, name=name, path=path)


def _variables(environment: dict[str, str] | tuple[Setting, ...]) -> dict[str, str]:
    if isinstance(environment, dict):
        return environment
    return {variable: value for name in environment for variable, value in SETTINGS[name].items()}


def parse(path: Path) -> ast.Module:
    """A file as Python itself reads it: in the encoding that it names, with a byte order mark or without.

    Raises:
        OSError: it cannot be read.
        SyntaxError, ValueError: Python cannot make sense of it either.
    """
    return ast.parse(path.read_bytes(), filename=str(path))


def load_line(tree: ast.Module) -> int | None:
    """The line on which a module defines, imports or assigns ``load``: under a condition, too, or with all of a module.

    Whether it then is there, only running it can tell.
    """
    for node in _run_by_import(tree):
        match node:
            case ast.FunctionDef(name="load") | ast.ClassDef(name="load") | ast.Name(id="load", ctx=ast.Store()):
                return node.lineno
            case ast.alias() if (node.asname or node.name) in ("load", "*"):
                return node.lineno
    return None


def import_row(row: Row) -> ModuleType:
    """The row's module. One outside the tree is loaded by its location: no folder of rows ever comes onto the path.

    What stands beside a file outside the tree can be imported, and hides nothing: its folder is the last on the path.
    Two files whose neighbours have the same name need a process each. Whatever the file itself raises passes through.
    """
    if row.path.is_relative_to(HERE):
        return importlib.import_module(f"impls.{row.name.replace('/', '.')}")
    folder = str(row.path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
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
    """The row with these weights, for NumPy users.

    Raises:
        InvalidInput: as NumpyModel; or the row declares that it has no context at every step.
    """
    if config.context == "every_step" and "every_step" in row.unsupported:
        raise InvalidInput(f"{row.name} has no context='every_step': {row.unsupported['every_step']}")
    return NumpyModel(build_row(row), config, parameters, device)


def _assigned(tree: ast.Module, name: str) -> tuple[int, ast.expr] | None:
    """The line on which a module assigns the name, annotated or not, and what it assigns."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(own, ast.Name) and own.id == name for own in targets):
                return node.lineno, node.value
    return None


def _run_by_import(tree: ast.Module) -> Iterator[ast.AST]:
    """The parts of a module outside of functions and classes, those that only say what type a name has left out."""
    left: deque[ast.AST] = deque(tree.body)
    while left:
        node = left.popleft()
        yield node
        has_own_names = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)
        if not has_own_names and not (isinstance(node, ast.AnnAssign) and node.value is None):
            left.extend(ast.iter_child_nodes(node))

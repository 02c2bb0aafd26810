"""Every framework's bound makes the products that it is asked for, all of them; one that does not has no time."""

from __future__ import annotations

import re
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.crosschecks import NOTEBOOK
from support.frameworks import need
from support.measuring import last, lines, plan_of
from support.processes import numpy_row

from bench.measure.errors import Invalid
from bench.measure.messages import ProblemFile
from bench.measure.proof import product_error
from bench.measure.runner import Listener, run_plan
from bench.measure.subjects import SQUARE_SIZE, SQUARES, Bound, factors
from bench.records.schema import CONTROL, Cell, Record
from bench.workloads import reference_outputs
from bench.workloads.flops import BatchSizes, products
from bench.workloads.shapes import SEED, WORKLOADS
from impls import find_bounds, find_rows, import_row, read_row
from impls.contract import PRECISION_VARIABLE, TASKS
from impls.equality import PRECISION_LIMITS
from impls.products import Made, Product

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.workloads.shapes import Workload
    from impls import Row
    from impls.contract import Task
    from impls.products import Multiplier

BOUNDS = find_bounds()
SOURCE = ProblemFile(NOTEBOOK, "", (BatchSizes(10, 9, 2), BatchSizes(1, 1, 1)))
SHAPES = [
    Product("input projection", 6, 5, 7),
    Product("recurrent step", 3, 5, 20, 4),
    Product("gradient of the state", 1, 20, 5, 1),
    Product("gradient of the input weights", 130, 300, 140),
    Product("recurrent step", 64, 70, 280, 3),
    Product("recurrent step", 32, 128, 512, 3),
    Product("recurrent step", 1, 128, 512, 3),
]


def cell(task: Task = "forward", precision: str = "float32") -> Cell:
    return Cell(
        implementation="some/products",
        framework="some",
        tier="bound",
        workload="seed",
        task=task,
        device="cpu",
        threads=1,
        precision=precision,
    )


@cache
def multiplier_of(framework: str) -> Multiplier:
    bound = BOUNDS[framework]
    for name in bound.frameworks:
        need(name)
    made: Multiplier = import_row(bound).load("cpu")
    return made


def test_every_framework_of_the_table_has_a_bound_and_no_bound_is_a_row() -> None:
    without = {row.multiplier for row in find_rows().values() if row.tier != "engine"} - BOUNDS.keys()
    assert not without  # an engine gives no product by itself
    assert not {bound.name for bound in BOUNDS.values()} & find_rows().keys()
    assert all(bound.is_bound and bound.fault is None for bound in BOUNDS.values())
    assert find_rows()["thinc/pytorch"].multiplier == "torch"  # Thinc's row, PyTorch's products


@pytest.mark.parametrize("framework", BOUNDS)
def test_products_are_right_whatever_their_shape(framework: str) -> None:
    multiplier = multiplier_of(framework)
    for input_set in (0, 1):
        placed = [multiplier.place(one, *factors(one, input_set, number)) for number, one in enumerate(SHAPES)]
        for _ in range(2):
            result = multiplier.multiply(placed)
            multiplier.wait(result)
            made = multiplier.to_numpy(result)
            assert len(made) == len(SHAPES)
            for number, (product, own) in enumerate(zip(SHAPES, made, strict=True)):
                left, right = factors(product, input_set, number)
                expected = left.astype(np.float64) @ right
                assert own.last.dtype == own.rows.dtype == np.float32
                np.testing.assert_allclose(own.last, expected[-1], atol=1e-4)
                np.testing.assert_allclose(own.rows, expected[:, -1], atol=1e-4)
                assert product_error(cell(), product, own, left, right, "now") < 1e-5


def test_each_of_pytorchs_ways_is_right_whatever_the_shape() -> None:
    """It keeps the one that is faster when it is tried: another may be, the next time."""
    multiplier: Any = multiplier_of("torch")
    import torch

    counts = set()
    for number, product in enumerate(SHAPES):
        left, right = factors(product, 0, number)
        expected = left.astype(np.float64) @ right
        with torch.inference_mode():
            ways = list(multiplier._ways([torch.from_numpy(one) for one in left], torch.from_numpy(right)))
            for way in ways:
                steps = way()
                assert len(steps) == product.count
                made = multiplier.to_numpy([steps])
                assert product_error(cell(), product, made[0], left, right, "now") < 1e-5
                np.testing.assert_allclose(np.stack([step.numpy() for step in steps]), expected, atol=1e-4)
        counts.add(len(ways))
    assert counts == {2 if torch.backends.mkldnn.is_available() else 1}


@pytest.mark.parametrize("framework", BOUNDS)
@pytest.mark.parametrize("task", TASKS)
def test_a_bound_makes_what_the_task_needs(framework: str, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    multiplier_of(framework)
    monkeypatch.setitem(SQUARE_SIZE, "cpu", 64)
    bound = Bound(import_row(BOUNDS[framework]).load, SOURCE, "cpu")
    assert 0 < bound.validate(cell(task), 0) < 1e-5
    turns = bound.turns(cell(task), [])
    result = turns.call(*turns.place(1))
    turns.look(result)
    assert 0 < turns.verify(1.0) < 1e-5
    assert len(bound.row.to_numpy(result)) == len(products(NOTEBOOK, SOURCE.batches, task))
    assert 0 < bound.validate(cell(task), 1) < 1e-5
    assert bound.square_size == 64 and len(bound.squares_s()) == SQUARES and min(bound.squares_s()) > 0


@pytest.mark.parametrize("framework", [name for name, bound in BOUNDS.items() if "bfloat16" in bound.precisions])
def test_a_bound_that_says_bfloat16_multiplies_in_it(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    multiplier_of(framework)
    monkeypatch.setitem(SQUARE_SIZE, "cpu", 64)
    monkeypatch.setenv(PRECISION_VARIABLE, "bfloat16")
    bound = Bound(import_row(BOUNDS[framework]).load, SOURCE, "cpu")
    for task in TASKS:
        error = bound.validate(cell(task, "bfloat16"), 0)
        assert PRECISION_LIMITS["float32"]["forward"] < error < PRECISION_LIMITS["bfloat16"]["forward"]


def test_xla_neither_merges_nor_drops_the_steps() -> None:
    """A recurrent net cannot make its steps at once: the compiled program has a loop of as many, a product in each."""
    multiplier_of("jax")
    import jax

    from impls.jax.products import make_by_newer, make_by_older

    steps = Product("recurrent step", 16, 24, 96, 7)
    left, right = factors(steps, 0, 0)
    for make_all in (make_by_newer, make_by_older):
        with jax.default_device(jax.devices("cpu")[0]):  # for a GPU it names no product, but cuBLAS
            text = make_all.lower([(left, right)]).compile().as_text()
        trips = re.findall(r'known_trip_count\\?":\{\\?"n\\?":\\?"(\d+)', text)
        assert trips == ["7"]
        shapes = re.findall(r"= f32\[([\d,]+)\]\S* dot\(", text)
        assert shapes == ["16,96"], text


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=list(WORKLOADS))
@pytest.mark.parametrize("task", [task for task in TASKS if task != "encode"])  # the row knows its decoder there, too
@pytest.mark.parametrize("several", [False, True])
def test_xlas_library_is_that_of_the_tuned_row(
    workload: Workload, task: Task, several: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    multiplier_of("jax")
    monkeypatch.setattr("impls.jax.tuned.SEVERAL", several)
    from impls.jax.products import by_older
    from impls.jax.tuned import older_is_faster

    config, size = workload.config, workload.batch_size
    layers = (*config.encoder_layers, *config.decoder_layers)
    own = older_is_faster(size, {layer.input_dim for layer in layers}, {layer.hidden_dim for layer in layers})
    assert by_older(products(config, [BatchSizes(3, 3, size)], task)) == own
    assert by_older([Product("square", 64, 64, 64)])


class Right:
    """A right bound: plain NumPy."""

    def place(self, product: Product, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return left, right

    def multiply(self, placed: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        return [left @ right for left, right in placed]

    def wait(self, result: object) -> None:
        pass

    def to_numpy(self, result: list[np.ndarray]) -> list[Made]:
        return [Made(own[-1], own[:, -1]) for own in result]


class OneNumber(Right):
    def multiply(self, placed: Any) -> list[np.ndarray]:
        made = super().multiply(placed)
        made[-1][-1, 0, 0] += 1
        return made


class FewerSteps(Right):
    """The first step's product, in place of all."""

    def multiply(self, placed: Any) -> list[np.ndarray]:
        return [np.repeat(left[:1] @ right, len(left), axis=0) for left, right in placed]


class LastStepAlone(Right):
    def multiply(self, placed: Any) -> list[np.ndarray]:
        made = [np.zeros((len(left), left.shape[1], right.shape[1]), np.float32) for left, right in placed]
        for own, (left, right) in zip(made, placed, strict=True):
            own[-1] = left[-1] @ right
        return made


class Rounded(Right):
    def multiply(self, placed: Any) -> list[np.ndarray]:
        return super().multiply([(left.astype(np.float16).astype(np.float32), right) for left, right in placed])


class Double(Right):
    def multiply(self, placed: Any) -> list[np.ndarray]:
        return super().multiply([(left.astype(np.float64), right) for left, right in placed])


class Fewer(Right):
    def multiply(self, placed: Any) -> list[np.ndarray]:
        return super().multiply(placed)[:1]


class Nothing(Right):
    def multiply(self, placed: Any) -> list[np.ndarray]:
        return [np.full_like(left @ right, np.nan) for left, right in placed]


class Kept(Right):
    """What was made first, whatever is asked."""

    def multiply(self, placed: Any) -> list[np.ndarray]:
        self.kept = getattr(self, "kept", {})
        return self.kept.setdefault(len(placed), super().multiply(placed))


WRONG: dict[type[Right], str] = {
    OneNumber: "is off by",
    FewerSteps: "recurrent step is off by",
    LastStepAlone: "recurrent step is off by",
    Rounded: "is off by",
    Double: "is float64, expected float32",
    Fewer: "1 products of",
    Nothing: "is off by nan",
    Kept: "with factors not seen before",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_products_are_caught(wrong: type[Right], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SQUARE_SIZE, "cpu", 64)

    def check(kind: type[Right]) -> None:
        bound = Bound(lambda _device: kind(), SOURCE, "cpu")
        for input_set in (0, 1):
            bound.validate(cell(), input_set)

    check(Right)
    with pytest.raises(Invalid, match=WRONG[wrong]):
        check(wrong)


class Late(Right):
    awaited = 0

    def wait(self, result: object) -> None:
        assert isinstance(result, list)
        self.awaited += 1


def test_what_is_timed_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SQUARE_SIZE, "cpu", 64)
    late = Late()
    bound = Bound(lambda _device: late, SOURCE, "cpu")
    call, before = bound.body(cell()), late.awaited
    call()
    bound.squares_s()
    assert late.awaited == before + 1 + SQUARES


def test_jax_waits_for_every_array() -> None:
    multiplier = multiplier_of("jax")
    from impls.jax.products import Products

    leaves = [SimpleNamespace(block_until_ready=lambda number=number: found.append(number)) for number in range(3)]
    found: list[int] = []
    multiplier.wait(Products(leaves[0], leaves[1:], []))
    assert sorted(found) == [0, 1, 2]


def test_torch_waits_for_the_whole_device(monkeypatch: pytest.MonkeyPatch) -> None:
    multiplier: Any = multiplier_of("torch")
    import torch

    idle: list[Any] = []
    monkeypatch.setattr(torch.cuda, "synchronize", idle.append)
    multiplier.wait([])
    assert idle == []  # nothing is pending on a CPU
    monkeypatch.setattr(multiplier, "device", torch.device("cuda"))
    multiplier.wait([])
    assert idle == [multiplier.device]


def test_thinc_waits_for_the_whole_device(monkeypatch: pytest.MonkeyPatch) -> None:
    multiplier: Any = multiplier_of("thinc")
    multiplier.wait([])
    idle: list[str] = []
    device = SimpleNamespace(synchronize=lambda: idle.append("idle"))
    ops = SimpleNamespace(xp=SimpleNamespace(cuda=SimpleNamespace(Device=lambda: device)))
    monkeypatch.setattr(multiplier, "ops", ops)
    multiplier.wait([])
    assert idle == ["idle"]


BOUND = '''"""Plain NumPy's products."""

import numpy as np

from impls.products import Made

ROW = {"tier": "bound", "summary": "NumPy's products", "frameworks": ["numpy"]}


class Multiplier:
    def place(self, product, left, right):
        return left, right

    def multiply(self, placed):
        return [left @ right for left, right in placed]

    def wait(self, result):
        pass

    def to_numpy(self, result):
        return [Made(own[-1], own[:, -1]) for own in result]


def load(device):
    return Multiplier()
'''


def bound_row(folder: Path, name: str, wrong: str = "") -> Row:
    path = folder / f"{name}.py"
    path.write_text(BOUND.replace("left @ right for", f"left @ right{wrong} for"), encoding="utf-8")
    return read_row(path)


def sit(folder: Path, *bounds: Row) -> list[Record]:
    """The records of a right row of NumPy's and these bounds."""
    numbers = folder / "seed.safetensors"
    reference_outputs.save(reference_outputs.pose(SEED, ("forward",)), numbers)
    plan = plan_of(read_row(numpy_row(folder, "right")), tasks=["forward"], bounds=bounds)
    problems = {"seed": ProblemFile(SEED.config, str(numbers), reference_outputs.sizes_of(SEED))}
    run_plan(plan, problems, folder, Listener())
    return [line for line in lines(folder) if isinstance(line, Record)]


def test_a_bound_is_timed_beside_the_rows_and_a_wrong_one_has_no_time(tmp_path: Path) -> None:
    records = sit(tmp_path, bound_row(tmp_path, "fine"), bound_row(tmp_path, "wrong", " * np.float32(1.001)"))
    assert {record.cell.implementation for record in records} == {"right", "fine", "wrong", CONTROL}
    found = last(records)
    fine, right, wrong = (found[name, "forward"] for name in ("fine", "right", "wrong"))
    assert (fine.status, fine.cell.tier) == ("ok", "bound")
    assert fine.square_size == SQUARE_SIZE["cpu"] and len(fine.squares_s) == SQUARES
    assert len(fine.samples_s) == len(right.samples_s) and right.squares_s == []
    assert wrong.status == "invalid" and wrong.samples_s == wrong.squares_s == []
    assert re.search(r"square is off by \S+, limit 1e-05 \(before timing\)", wrong.reason or ""), wrong.reason

"""Turns are turns: one row works at a time, in an order drawn again each round, while the others sleep."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support.measuring import LISTENER, QUICK, carry_out, last, measure, peaks, plan_of, sooner_or_later
from support.pretend import row as pretended
from support.processes import numpy_row

from bench.analysis.cells import analyse
from bench.machine.cpus import bind, processor_ticks, processors
from bench.machine.gpu import Gpu
from bench.measure import runner
from bench.measure.interleave import Interleaver
from bench.measure.stopping import retakes_of
from bench.records.schema import Memory, Record
from impls import read_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.measure.plan import Entry
    from bench.records.schema import Cell

ROWS = ("first", "second", "third")
ENTRIES = len(ROWS) + 1
TURNS = 12

LONG_CALLS = replace(QUICK, turn_s=0.004, min_turns=TURNS, min_blocks=2, max_blocks=2)
"""Turns shorter than a call of the rows below: each turn is one call."""

WORK = "self.began = time.perf_counter_ns()\nwhile time.perf_counter_ns() < self.began + 6e6: pass"
WRITE = "in_a_turn() and print(self.began, time.perf_counter_ns(), file=log, flush=True); return result"


class Call(NamedTuple):
    """A timed call, by the clock that all processes share."""

    start: int
    end: int
    process: str


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Call], list[Record]]:
    """Three rows that write down when they are called, and the control, for two blocks."""
    folder = tmp_path_factory.mktemp("evening")
    rows = []
    for name in ROWS:
        top = f"import os, time\nlog = open({str(folder)!r} + f'/{name}-{{os.getpid()}}.calls', 'w')"
        rows.append(read_row(numpy_row(folder, name, before=WORK, after=WRITE, top=top)))
    records = carry_out(folder, plan_of(*rows, tasks=["encode"], budget=LONG_CALLS))
    calls = [
        Call(*map(int, line.split()), path.stem)
        for path in folder.glob("*.calls")
        for line in path.read_text().splitlines()
    ]
    return sorted(calls), records


def test_no_two_rows_work_at_once(evening: tuple[list[Call], list[Record]]) -> None:
    calls, records = evening
    assert {(record.status, record.calls) for record in records} == {("ok", 1)}
    assert len({call.process for call in calls}) == 2 * ENTRIES  # a process for each entry in each of two blocks
    assert len(calls) == sum(len(record.samples_s) for record in records) >= 2 * ENTRIES * TURNS
    assert all(one.end <= other.start for one, other in pairwise(calls))


def test_each_round_has_an_order_of_its_own(evening: tuple[list[Call], list[Record]]) -> None:
    calls, _ = evening
    rounds = [tuple(call.process for call in calls[at : at + ENTRIES]) for at in range(0, len(calls), ENTRIES)]
    assert all(len(set(one)) == ENTRIES for one in rounds)  # everybody once
    assert len(set(rounds)) > TURNS  # of 24 orders for each of two sets of processes
    firsts = [one[0] for one in rounds]
    assert max(map(firsts.count, firsts)) < len(rounds) / 2  # nobody always goes first


def test_who_waits_sleeps(evening: tuple[list[Call], list[Record]]) -> None:
    _, records = evening
    for record in records:
        waited_s = 3 * sum(record.samples_s)
        assert record.waiting_cpu_s is not None and record.waiting_cpu_s < 0.05 * waited_s
        assert record.flags in ([], ["contended"])


def test_each_process_starts_from_addresses_and_hashes_of_its_own(evening: tuple[list[Call], list[Record]]) -> None:
    _, records = evening
    by_entry = {(one.cell.implementation, one.block): (one.hash_seed, one.padding_bytes) for one in records}
    assert len(by_entry) == len(set(by_entry.values())) == 2 * ENTRIES
    assert None not in {value for pair in by_entry.values() for value in pair}


def test_hash_seed_and_padding_reach_the_process(tmp_path: Path) -> None:
    top = f"import os\nopen({str(tmp_path)!r} + f'/{{os.getpid()}}.seen', 'w').write(\n"
    top += "    os.environ['PYTHONHASHSEED'] + ' ' + str(len(os.environ['SEQ2SEQ_LSTM_BENCH_PADDING'])))"
    records = measure(tmp_path, read_row(numpy_row(tmp_path, "sees", top=top)), tasks=["encode"])
    seen = {tuple(map(int, path.read_text().split())) for path in tmp_path.glob("*.seen")}
    assert seen == {(record.hash_seed, record.padding_bytes) for record in records}


def test_a_row_that_works_in_others_turns_is_flagged(tmp_path: Path) -> None:
    spin = "import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin, daemon=True).start()"
    restless = read_row(numpy_row(tmp_path, "restless", top=spin))
    records = measure(tmp_path, read_row(numpy_row(tmp_path, "calm")), restless, tasks=["encode"])
    found = last(records)
    assert {record.status for record in records} == {"ok"}
    assert "restless" in found["restless", "encode"].flags
    assert "restless" not in found["calm", "encode"].flags


@pytest.mark.quiet
def test_who_has_failed_is_not_measured_again(tmp_path: Path) -> None:
    rows = [read_row(numpy_row(tmp_path, "good")), read_row(numpy_row(tmp_path, "bad", before="in_a_turn() and 1 / 0"))]
    with neighbour(processors()[-1]):
        records = measure(tmp_path, *rows, tasks=["encode"], budget=replace(QUICK, min_turns=6))
    assert [(one.attempt, one.status) for one in records if one.cell.implementation == "bad"] == [(0, "error")]
    assert [record.attempt for record in records if record.cell.implementation == "good"] == [0, 1]


@contextmanager
def neighbour(processor: int) -> Iterator[None]:
    """A process that keeps a processor busy."""
    code = f"import os\nos.sched_setaffinity(0, [{processor}])\nwhile True: pass"
    busy = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


@pytest.mark.quiet
def test_a_contended_group_is_measured_again_and_kept(tmp_path: Path) -> None:
    rows = [read_row(numpy_row(tmp_path, name)) for name in ("one", "two")]
    budget = replace(QUICK, min_turns=6, calls=20)  # a short turn may end before the neighbour gets its slice
    with neighbour(processors()[-1]):
        records = measure(tmp_path, *rows, tasks=("encode", "forward"), budget=budget)
    assert all("contended" in record.flags for record in records if record.attempt == 0)
    assert all(record.cpu_per_wall is not None and record.cpu_per_wall < 0.95 for record in records)
    retaken = {record.cell.task for record in records if record.attempt == 1}
    assert len(retaken) == retakes_of(2) == 1  # bounded: both were contended
    assert {record.attempt for record in records} == {0, 1}
    assert len(records) == 2 * 3 + 3  # what was contended is kept
    for cell, one in analyse(records, "one").items():
        attempt = 1 if cell.task in retaken else 0
        assert [record.attempt for record in one.blocks] == [attempt]
        assert [record.attempt for record in one.set_aside] == [0] * attempt
        assert one.ratio is not None


HAND_OVER = """from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1)
def spin():
    until = time.perf_counter_ns() + 3_000_000
    while time.perf_counter_ns() < until: pass"""

NOT_PREEMPTED = {
    "sleeps": {"before": "time.sleep(0.003)", "top": "import time"},
    "hands over": {"before": "pool.submit(spin); spin()", "top": f"import time\n{HAND_OVER}"},
}


@pytest.fixture
def free_processor() -> Iterator[None]:
    """Keep this process, and with it the runs that it starts, to the processor that others leave most of."""
    allowed = processors()
    before = [processor_ticks([number]) for number in allowed]
    time.sleep(0.5)
    after = [processor_ticks([number]) for number in allowed]
    idle = [
        (late.idle - early.idle) / (late.all - early.all) if early and late and late.all > early.all else 1.0
        for early, late in zip(before, after, strict=True)
    ]
    if max(idle) < 0.5:
        pytest.skip("other programs or machines have every processor: here everybody is preempted")
    bind([allowed[idle.index(max(idle))]])
    yield
    bind(allowed)


@pytest.mark.quiet
@pytest.mark.usefixtures("free_processor")
@pytest.mark.parametrize("what", NOT_PREEMPTED)
def test_who_waits_by_himself_is_not_preempted(what: str, tmp_path: Path) -> None:
    row = read_row(numpy_row(tmp_path, "row", **NOT_PREEMPTED[what]))
    budget = replace(QUICK, min_turns=8)

    def preempted(folder: Path) -> Any:
        records = [record for record in measure(folder, row, tasks=["encode"], budget=budget) if record.attempt == 0]
        few = all(len(record.preempted) <= len(record.samples_s) / 2 for record in records)
        if few and not any("contended" in record.flags for record in records):
            return None
        return [(record.preempted, record.flags, record.steal) for record in records]

    sooner_or_later(preempted, tmp_path)


@pytest.mark.quiet
@pytest.mark.skipif(len(processors()) < 2, reason="one processor: no row has two threads")
def test_several_threads_spin_in_their_own_turn_only(tmp_path: Path) -> None:
    spins = """import threading, time
def after(call):
    until = time.perf_counter() + 0.02
    while time.perf_counter() < until: pass"""
    start = "threading.Thread(target=after, args=(0,)).start()"
    rows = [read_row(numpy_row(tmp_path, "good")), read_row(numpy_row(tmp_path, "spins", before=start, top=spins))]
    records = carry_out(tmp_path, plan_of(*rows, tasks=["encode"], threads=[2], budget=replace(QUICK, min_turns=6)))
    assert all(record.ok for record in records)
    assert not any("restless" in record.flags for record in records)
    assert not any(record.preempted for record in records)


@pytest.mark.quiet
@pytest.mark.skipif(len(processors()) < 2, reason="one processor: no row has two threads")
def test_a_group_of_several_threads_is_contended_where_others_have_the_processors(tmp_path: Path) -> None:
    row = read_row(numpy_row(tmp_path, "row"))
    plan = plan_of(row, tasks=["encode"], threads=[2], budget=replace(QUICK, min_turns=20))
    with neighbour(processors()[-1]):
        records = carry_out(tmp_path, plan)
    assert all("contended" in record.flags for record in records if record.attempt == 0)
    assert {record.attempt for record in records} == {0, 1}


@pytest.mark.quiet
@pytest.mark.usefixtures("free_processor")
def test_rounds_go_on_for_those_who_were_preempted_but_not_for_ever(tmp_path: Path) -> None:
    row = read_row(numpy_row(tmp_path, "row"))
    budget = replace(QUICK, min_turns=10, calls=40)  # turns that no time slice of the scheduler holds whole
    with neighbour(processors()[-1]):
        preempted = measure(tmp_path, row, tasks=["encode"], budget=budget)
    assert all(len(record.samples_s) == 10 * budget.most_rounds for record in preempted if record.attempt == 0)
    assert all(record.preempted for record in preempted)

    def too_many(folder: Path) -> int | None:
        calm = measure(folder, row, tasks=["encode"], budget=budget)
        rounds = max(len(record.samples_s) for record in calm if record.attempt == 0)
        return rounds if rounds == 10 * budget.most_rounds else None

    sooner_or_later(too_many, tmp_path)


def test_peak_memory_is_that_of_a_call(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    top = f"import os\nopen({str(starts)!r}, 'a').write('x')"
    dies = f"if len(open({str(starts)!r}).read()) > 1: os._exit(3)"
    rows = [
        numpy_row(tmp_path, "little"),
        numpy_row(tmp_path, "large", before="np.ones(2**23 + 2**17).sum()"),  # 65 MiB
        numpy_row(tmp_path, "dies", before=dies, top=top),  # in its second process, which is looked_at_after
    ]
    budget = replace(QUICK, measures_memory=True)
    records = carry_out(tmp_path, plan_of(*map(read_row, rows), tasks=["encode"], budget=budget))
    found = peaks(tmp_path)
    (last,) = [record for record in records if not record.ok]
    assert (last.cell.implementation, last.status) == ("dies", "crashed"), "what is not right once more has no time"
    assert "once more, at the end" in (last.reason or "")
    assert found.keys() == {(name, "encode") for name in ("little", "large", "dies")}
    little, large = found["little", "encode"], found["large", "encode"]
    assert little.source == large.source == "VmHWM"
    assert little.peak_bytes is not None and little.peak_bytes < 8 * 2**20
    assert large.peak_bytes is not None and 64 * 2**20 <= large.peak_bytes < 80 * 2**20
    lost = found["dies", "encode"]
    assert (lost.status, lost.peak_bytes) == ("crashed", None) and "exit code 3" in (lost.reason or "")


def test_what_an_earlier_task_left_behind_does_not_hide_the_memory_of_a_later_one(tmp_path: Path) -> None:
    hoards = "KEPT.append(0) if KEPT else KEPT.append(np.ones(2**23 + 2**17))"  # 65 MiB, in the first call of a process
    rows = [numpy_row(tmp_path, "little"), numpy_row(tmp_path, "hoards", before=hoards, top="KEPT = []")]
    forward = "    def forward(self, x, y):\n        self.before()\n        return super().forward(x, y)\n\n"
    rows[1].write_text(rows[1].read_text().replace("    def encode(", f"{forward}    def encode("))
    carry_out(tmp_path, plan_of(*map(read_row, rows), budget=replace(QUICK, measures_memory=True)))
    found = peaks(tmp_path)
    assert all(found["hoards", task].peak_bytes >= 64 * 2**20 for task in ("encode", "forward"))
    assert all(found["little", task].peak_bytes < 8 * 2**20 for task in ("encode", "forward"))


def test_no_more_take_turns_at_a_time_than_a_pool_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [pretended(f"row{number}") for number in range(9)]
    plan = plan_of(*rows, budget=replace(QUICK, measures_memory=True), entries_a_pool=4)  # so many fit into memory
    known = [
        Record(cell=cell, block=1, pool=table.number, status="ok", samples_s=[1.0])
        for table in plan.pools
        for entry in table.entries
        for cell in entry.cells
    ]
    together: list[int] = []

    def revisit(_run: object, pairs: Sequence[tuple[Entry, Cell]], *_: object) -> list[Memory]:
        together.append(len(pairs))
        return [Memory(cell=cell, block=1, status="ok", peak_bytes=1) for _, cell in pairs]

    monkeypatch.setattr(runner, "processors", lambda: list(range(64)))
    monkeypatch.setattr(runner._Run, "_revisit", revisit)
    runner.run_plan(plan, {}, tmp_path, LISTENER, known=known, next_block=lambda *_: None)
    assert sum(together) == 2 * len(rows) and max(together) == 4


def test_a_gpus_clock_is_that_after_the_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = cycle([Gpu(name="H100", clock_mhz=210.0), Gpu(name="H100", clock_mhz=1980.0, throttles=("power cap",))])
    monkeypatch.setattr(
        Interleaver, "_gpu", lambda _self, _planned_group: next(states)
    )  # no GPU is needed to look at one
    records = measure(tmp_path, read_row(numpy_row(tmp_path, "good")), tasks=["encode"])
    assert {record.clock_mhz for record in records} == {1980.0}
    assert all("throttled" in record.flags for record in records)


@pytest.mark.thorough
def test_no_row_is_always_the_last(tmp_path: Path) -> None:
    log = tmp_path / "imports"
    names = ["a", "b", "c", "d", "e", "f"]
    rows = [read_row(numpy_row(tmp_path, name, top=f"open({str(log)!r}, 'a').write({name!r})")) for name in names]
    plan = plan_of(*rows, tasks=["encode"], budget=replace(QUICK, min_blocks=4, max_blocks=4))
    records = carry_out(tmp_path, plan)
    entries = [entry.name for entry in plan.pools[0].entries]
    first = [record.cell.implementation for record in records if (record.block, record.attempt) == (1, 0)]
    assert first == entries  # on file as they were planned
    blocks = [log.read_text()[start : start + len(entries)] for start in range(0, 4 * len(entries), len(entries))]
    # two import at a time at most, and those at the end of the plan would never be the first
    assert any({"c", "d", "e", "f"} & {*imported[:2]} for imported in blocks), blocks


def test_later_blocks_make_their_turns_like_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.measure.interleave.WARMED_S", 0.02)  # far from what a call takes, on a slow machine too
    starts = tmp_path / "starts"
    top = f"import os, time\nopen({str(starts)!r}, 'a').write('x')\nlate = os.path.getsize({str(starts)!r}) > 2"
    row = read_row(numpy_row(tmp_path, "row", before="time.sleep(0.03 * late)", top=top))  # slow in its second block
    records = measure(tmp_path, row, tasks=["encode"], budget=replace(QUICK, min_blocks=2, max_blocks=2))
    assert {(record.block, record.discards) for record in records} == {(1, True), (2, True)}
    assert len({record.calls for record in records}) == 1 and (records[0].calls or 0) > 1

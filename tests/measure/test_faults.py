"""Rows with real faults: each costs its own cell, the others of the pool go on, and no process outlives the run."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest
from support.measuring import QUICK, carry_out, last, measure, plan_of
from support.processes import limited, numpy_row, wait_until

from bench.machine.cpus import processors
from bench.measure import worker_client
from bench.measure.errors import where, words_of
from bench.measure.lock import only_run
from bench.records.schema import CONTROL
from impls import read_row

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.schema import Record

MANY_TURNS = replace(QUICK, turn_s=0.004, min_turns=15)
"""Fifteen turns of a few calls, so that there is a middle."""

ANSWERS = "int(sys.argv[2])"
"""A worker's own end of the pipe to the runner."""

FAULTS = {
    "raises": ("raise RuntimeError('no luck today')", "error", r"raises\.py:\d+: RuntimeError: no luck today"),
    "raises_rubbish": ("raise RuntimeError(chr(0xd800) + chr(10))", "error", r"RuntimeError: \\ud800"),
    "cannot_say": (
        "raise type('Dumb', (Exception,), {'__str__': lambda self: 1 / 0})",
        "error",
        "Dumb: cannot say what is wrong",
    ),
    "says_nothing": (
        "raise NotImplementedError",
        "error",
        r"^says_nothing\.py:\d+: NotImplementedError without words: raise NotImplementedError$",
    ),
    "segfaults": ("import ctypes; ctypes.string_at(0)", "crashed", "SIGSEGV"),
    "exits": ("import os; os._exit(7)", "crashed", "exit code 7"),
    "is_killed": ("import os; os.kill(os.getpid(), 9)", "out_of_memory", "SIGKILL"),
    "exits_politely": ("raise SystemExit(0)", "error", "SystemExit"),
    "interrupts": ("raise KeyboardInterrupt", "crashed", "exit code 2"),
    "skips_itself": ("import pytest; pytest.skip('not today')", "error", "not today"),
    "memory_error": ("raise MemoryError", "out_of_memory", "MemoryError"),
    "aborts_for_memory": (
        "import os; os.write(2, b'terminate called after throwing std::bad_alloc'); os.abort()",
        "out_of_memory",
        "ended for want of memory",
    ),
    "aborts_for_threads": (
        "import os; os.write(2, b'pthread_create() failed'); os.abort()",
        "crashed",
        r"ended for want of threads or processes \(ulimit -u\)",
    ),
    "takes_all_its_time": (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 60))\nwhile True: pass",
        "timeout",
        r"used up the processor time that a process may have here \(ulimit -t\)",
    ),
    "says_rubbish": (f"import os; os.write({ANSWERS}, b'hello\\n')", "error", "sent something that is no answer"),
    "says_bytes": (f"import os; os.write({ANSWERS}, b'\\xff\\xfe\\n')", "error", "sent something that is no answer"),
    "says_deeply": (
        f"import os; os.write({ANSWERS}, b'[' * 50_000 + b'\\n')",
        "error",
        "sent something that is no answer",
    ),
    "says_endlessly": (f"import os\nwhile True: os.write({ANSWERS}, b'x' * 2**16)", "error", "sent too much"),
    "says_twice": (
        f'import os; os.write({ANSWERS}, 2 * b\'{{"type":"Waiting"}}\\n\')',
        "error",
        "sent something that it was not asked",
    ),
    "speaks_out_of_turn": (
        f'import os; os.write({ANSWERS}, b\'{{"type":"Waiting"}}\\n\')',
        "error",
        "answered out of turn|was not asked",
    ),
    "falls_silent": (f"import os; os.close({ANSWERS})", "error", "closed its answers and lived on"),
    "reaches": ("import thinc.api", "error", "thinc is blocked: another row's framework"),
}


IN_WORDS = ("raises_rubbish", "cannot_say", "says_nothing", "reaches")
AT_ONCE = (*IN_WORDS, "segfaults", "exits_politely", "interrupts", "memory_error")
IN_A_TURN = tuple(fault for fault in FAULTS if fault not in IN_WORDS)

Faulty = tuple[list["Record"], dict[tuple[str, str], "Record"]]


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    """Rows that fail at their first call, in one pool with a row that is right."""
    folder = tmp_path_factory.mktemp("once")
    return measured(folder, [numpy_row(folder, name, before=FAULTS[name][0]) for name in AT_ONCE])


@pytest.fixture(scope="module")
def in_a_turn(tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    """Rows that fail in the middle of their turns, in one pool with a row that is right."""
    folder = tmp_path_factory.mktemp("turn")
    middle = "self.turns = getattr(self, 'turns', 0) + in_a_turn()\nif self.turns == 5:\n    "
    codes = {name: middle + FAULTS[name][0].replace("\n", "\n    ") for name in IN_A_TURN}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_client, "ENDING_LIMIT_S", 1.0)
        return measured(folder, [numpy_row(folder, name, before=code) for name, code in codes.items()])


def measured(folder: Path, rows: list[Path]) -> Faulty:
    good = read_row(numpy_row(folder, "good"))
    records = measure(folder, good, *map(read_row, rows), tasks=["encode"], budget=MANY_TURNS)
    return records, last(records)


@pytest.mark.parametrize("fault", AT_ONCE)
def test_a_fault_costs_its_own_cell(fault: str, at_once: Faulty) -> None:
    is_settled(fault, at_once)


@pytest.mark.parametrize("fault", IN_A_TURN)
def test_a_fault_in_a_turn_costs_its_own_cell(fault: str, in_a_turn: Faulty) -> None:
    is_settled(fault, in_a_turn)


def is_settled(fault: str, faulty: Faulty) -> None:
    _, status, words = FAULTS[fault]
    record = faulty[1][fault, "encode"]
    assert (record.status, record.samples_s) == (status, []), record
    assert re.search(words, record.reason or ""), record.reason


def test_the_others_of_the_pool_keep_all_their_turns(at_once: Faulty, in_a_turn: Faulty) -> None:
    for (records, found), faults in ((at_once, AT_ONCE), (in_a_turn, IN_A_TURN)):
        right = [one for one in records if one.cell.implementation in ("good", CONTROL) and one.attempt == 0]
        assert [record.status for record in right] == ["ok", "ok"], [record.reason for record in right]
        (turns,) = {len(record.samples_s) for record in right}
        assert turns >= 15
        assert len(found) == len(faults) + 1


def test_what_says_nothing_is_known_by_the_line_that_raised_it(tmp_path: Path) -> None:
    deep, mine = tmp_path / "deep.py", tmp_path / "mine.py"
    deep.write_text("def check(width):\n    assert width % 8 == 0\n", encoding="utf-8")
    mine.write_text("\ncheck(12)\n", encoding="utf-8")
    names: dict[str, object] = {}
    exec(compile(deep.read_text(), deep, "exec"), names)
    with pytest.raises(AssertionError) as caught:
        exec(compile(mine.read_text(), mine, "exec"), names)
    said = "deep.py:2: AssertionError without words: assert width % 8 == 0"
    assert words_of(caught.value) == said
    assert where(caught.value, deep) == said
    assert where(caught.value, mine) == f"mine.py:2: {said}"
    assert words_of(KeyError()) == where(KeyError(), mine) == "KeyError without words"


def test_a_new_worker_takes_the_place_of_a_dead_one(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    top = f"open({str(starts)!r}, 'a').write('x')"
    row = read_row(numpy_row(tmp_path, "dies", before="import os; os._exit(3)", top=top))
    found = last(measure(tmp_path, read_row(numpy_row(tmp_path, "good")), row))
    assert (found["dies", "encode"].status, found["dies", "forward"].status) == ("crashed", "ok")
    assert starts.read_text() in ("x", "xx")  # the second only where a cell came after the one that killed the first


def test_a_file_that_dies_on_import_is_not_tried_again_and_again(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    top = f"import os\nopen({str(starts)!r}, 'a').write('x')\nos._exit(3)"
    row = read_row(numpy_row(tmp_path, "dies", top=top))
    found = last(
        measure(tmp_path, read_row(numpy_row(tmp_path, "good")), row, tasks=("encode", "forward", "gradients"))
    )
    assert {record.status for key, record in found.items() if key[0] == "dies"} == {"crashed"}
    assert {record.status for key, record in found.items() if key[0] == "good"} == {"ok"}
    assert starts.read_text() == "x"


def test_an_earlier_want_of_memory_does_not_explain_a_later_crash(tmp_path: Path) -> None:
    code = "hasattr(self, 'left') or print('MemoryError: out of memory', flush=True)\nself.left = 1\n"
    code += "if in_a_turn():\n    import ctypes; ctypes.string_at(0)"
    row = read_row(numpy_row(tmp_path, "moody", before=code))
    found = last(measure(tmp_path, read_row(numpy_row(tmp_path, "good")), row, tasks=["encode"]))
    assert found["moody", "encode"].status == "crashed"
    assert "out of memory" in (tmp_path / "logs" / "moody-1-float32.log").read_text()


def test_a_row_that_exhausts_its_memory_has_no_time_and_the_rest_goes_on(tmp_path: Path) -> None:
    hoard = "self.kept = []\nwhile True: self.kept.append(np.ones(2**20))"
    greedy = read_row(numpy_row(tmp_path, "greedy", before=hoard))
    late = read_row(numpy_row(tmp_path, "late", before="if in_a_turn(): self.kept = np.empty(2**28)"))
    plan = plan_of(read_row(numpy_row(tmp_path, "good")), greedy, late)
    found = last(carry_out(tmp_path, plan, memory_limit_bytes=1536 * 2**20))
    for name in ("greedy", "late"):
        assert found[name, "encode"].status == "out_of_memory"
        assert re.search(rf"{name}\.py:\d+: .*MemoryError", found[name, "encode"].reason or "")
        assert found[name, "forward"].status == "ok"
    assert found["good", "encode"].status == found["good", "forward"].status == "ok"


def test_a_row_that_hangs_in_the_middle_of_its_turns_is_given_up(tmp_path: Path) -> None:
    sleeps = read_row(numpy_row(tmp_path, "sleeps", before="import time; in_a_turn() and time.sleep(600)"))
    stops = read_row(numpy_row(tmp_path, "stops", before="import os; in_a_turn() and os.kill(os.getpid(), 19)"))
    loads = read_row(numpy_row(tmp_path, "loads", before="import time; time.sleep(600)"))
    good = read_row(numpy_row(tmp_path, "good"))
    start = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_client, "START_LIMIT_S", 8.0)
        records = measure(tmp_path, good, sleeps, stops, loads, budget=replace(MANY_TURNS, limit_s=2))
    assert time.monotonic() - start < 60
    found = last(records)
    for name in ("sleeps", "stops", "loads"):
        assert (found[name, "encode"].status, found[name, "forward"].status) == ("timeout", "ok")
        assert "did not get done within the" in (found[name, "encode"].reason or "")
    assert all(len(found["good", task].samples_s) >= 15 for task in ("encode", "forward"))


def test_a_cell_has_so_much_time_for_all_of_its_turns(tmp_path: Path) -> None:
    drags = read_row(numpy_row(tmp_path, "drags", before="import time; in_a_turn() and time.sleep(0.4)"))
    found = last(
        measure(tmp_path, read_row(numpy_row(tmp_path, "good")), drags, budget=replace(MANY_TURNS, limit_s=3, calls=1))
    )
    assert found["drags", "encode"].status == "timeout"
    assert found["good", "encode"].status == found["good", "forward"].status == "ok"


@pytest.mark.thorough
def test_a_row_whose_calls_are_long_has_the_time_that_its_turns_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_client, "START_LIMIT_S", 3.0)
    long = read_row(numpy_row(tmp_path, "long", before="import time; time.sleep(0.2)"))
    good = read_row(numpy_row(tmp_path, "good"))
    records = measure(tmp_path, good, long, tasks=["encode"], budget=replace(QUICK, min_turns=40, limit_s=3))
    assert last(records)["long", "encode"].ok, last(records)["long", "encode"].reason
    assert sum(last(records)["long", "encode"].samples_s) > 3 + 3


def test_what_the_system_refuses_while_a_worker_starts_is_said_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_pid: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuses)
    with pytest.raises(OSError, match="Too many open files"), only_run("a test") as mark:
        carry_out(tmp_path, plan_of(read_row(numpy_row(tmp_path, "good"))), mark=mark)
    assert not [child for child in psutil.Process().children() if "bench.measure.worker" in child.cmdline()]


def test_a_crash_is_one_though_a_child_holds_the_pipe(tmp_path: Path) -> None:
    code = "import ctypes, os, time\nif in_a_turn():\n    os.fork() or time.sleep(600)\n    ctypes.string_at(0)"
    row = read_row(numpy_row(tmp_path, "forks", before=code))
    start = time.monotonic()
    with only_run("a test") as mark:
        plan = plan_of(read_row(numpy_row(tmp_path, "good")), row, tasks=["encode"], budget=replace(QUICK, limit_s=60))
        found = last(carry_out(tmp_path, plan, mark=mark))
    assert found["forks", "encode"].status == "crashed" and "SIGSEGV" in (found["forks", "encode"].reason or "")
    assert time.monotonic() - start < 50


@pytest.mark.parametrize(
    "what", [{"implementation": "good"}, {"workload": "nowhere"}, {"attempt": 3}, {"block": 9}, {"samples_s": []}]
)
def test_a_record_that_a_row_writes_itself_is_not_used(what: dict[str, object], tmp_path: Path) -> None:
    cell = {"implementation": "forges", "framework": "numpy", "tier": "loop", "workload": "seed", "task": "encode"}
    cell |= {"device": "cpu", "threads": 1} | {name: what[name] for name in what if name in cell}
    record = {"type": "cell", "cell": cell, "block": 1, "status": "ok", "samples_s": [1e-9]}
    record |= {name: what[name] for name in what if name not in cell}
    said = json.dumps({"type": "Finished", "record": record}) + "\n"
    code = f"import os, time\nif in_a_turn():\n    os.write({ANSWERS}, {said!r}.encode())\n    time.sleep(600)"
    row = read_row(numpy_row(tmp_path, "forges", before=code))
    found = last(measure(tmp_path, read_row(numpy_row(tmp_path, "good")), row, tasks=["encode"]))
    assert found["forges", "encode"].status == "error"
    assert "record is not to be used" in (found["forges", "encode"].reason or "")
    assert found["good", "encode"].samples_s and min(found["good", "encode"].samples_s) > 1e-6


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("short", "short"),
        ("x" * 300, "x" * 300),
        ("compile " + "x" * 900 + ": No space\nleft on device", "compile xxx.*xxx … xxx.*xxx: No space left on device"),
    ],
    ids=["short", "just so long", "long"],
)
def test_of_long_words_the_beginning_and_the_end_are_kept(said: str, words: str) -> None:
    """Compilers say last what was wrong."""
    assert re.fullmatch(words, words_of(RuntimeError(said)))
    assert len(words_of(RuntimeError(said))) <= 300
    assert words_of(RuntimeError("a" * 90 + "b" * 90), 100) == "a" * 40 + " … " + "b" * 57


def test_a_lower_limit_of_memory_is_not_raised() -> None:
    """Who may raise it had no limit, and who may not had an error."""
    settle = """
import resource
from bench.measure.worker import settle_down
settle_down([{processor}], 2**{power}, [])
print(*resource.getrlimit(resource.RLIMIT_AS))
"""
    processor = processors()[0]
    for power, limit in ((40, 9_000_000 * 1024), (32, 2**32)):
        done = limited("ulimit -v 9000000", "-c", settle.format(processor=processor, power=power))
        assert done.stdout == f"{limit} {limit}\n", done.stderr
    soft = limited("ulimit -Sv 5000000", "-c", settle.format(processor=processor, power=40))
    assert soft.stdout == f"{5_000_000 * 1024} {2**40}\n", soft.stderr


def test_a_worker_that_is_killed_from_outside_costs_its_cell(tmp_path: Path) -> None:
    victim, mark = (
        tmp_path / "victim",
        "import os, pathlib; in_a_turn() and pathlib.Path({!r}).write_text(str(os.getpid()))",
    )
    row = read_row(numpy_row(tmp_path, "victim", before=mark.format(str(victim)) + "\nimport time; time.sleep(0.02)"))

    def kill() -> None:
        wait_until(lambda: victim.exists() and victim.read_text(), "its first turn")
        os.kill(int(victim.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    found = last(measure(tmp_path, read_row(numpy_row(tmp_path, "good")), row, tasks=["encode"], budget=MANY_TURNS))
    killer.join()
    assert found["victim", "encode"].status == "out_of_memory"  # nobody says who sent the signal
    assert "was ended by SIGKILL" in (found["victim", "encode"].reason or "")
    assert len(found["good", "encode"].samples_s) >= 15


def test_what_a_row_prints_harms_nothing(tmp_path: Path) -> None:
    line = '{"type": "Finished", "status": "ok"}'
    row = read_row(numpy_row(tmp_path, "loud", before=f"print({line!r} + chr(10), flush=True)"))
    assert {record.status for record in measure(tmp_path, row)} == {"ok"}
    assert line in (tmp_path / "logs" / "loud-1-float32.log").read_text()

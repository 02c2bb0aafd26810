"""No process outlives a run, and only one run measures at a time."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import psutil
import pytest
from support.measuring import carry_out, plan_of
from support.processes import alive, numpy_row, wait_until

from bench.measure.lock import end_strays, lock_file, only_run
from impls import read_row
from impls.contract import InvalidInput

LONG = f"4321.{os.getpid()}"
"""How many seconds what is left sleeps: a number by which it is known."""


ESCAPES = {
    "child": f"subprocess.Popen(['sleep', '{LONG}1'])",
    "session": f"subprocess.Popen(['sleep', '{LONG}2'], start_new_session=True)",
    "stranger": f"subprocess.Popen(['sleep', '{LONG}4'], start_new_session=True, env={{}})",
    "daemon": f"""
if os.fork() == 0:
    os.setsid()
    os.execvp('sleep', ['sleep', '{LONG}3']) if os.fork() == 0 else os._exit(0)
""",
    "fork": f"""
if os.fork() == 0:
    os.setsid()
    os.fork() and os._exit(0)
    os.closerange(3, 256)
    open('{{folder}}/fork', 'w').write(str(os.getpid()))
    {"time.sleep(600)"}
""",
}


def test_no_process_outlives_a_run(tmp_path: Path) -> None:
    rows = []
    for name, code in ESCAPES.items():
        code = "import os, subprocess, time\nif not hasattr(self, 'left'):\n    self.left = True\n    {}".format(
            code.strip().replace("{folder}", str(tmp_path)).replace("\n", "\n    ")
        )
        rows.append(read_row(numpy_row(tmp_path, name, before=code)))
    with only_run("a test") as mark:
        records = carry_out(tmp_path, plan_of(*rows, tasks=["encode"]), mark=mark)
        left = {int(process.cmdline()[1][-1]) for process in alive(f"sleep {LONG}")}
        forked = int((tmp_path / "fork").read_text())
        assert left >= {2, 3, 4} and psutil.pid_exists(forked)  # they really got away from their worker's group
    assert {record.status for record in records} == {"ok"}
    wait_until(lambda: not alive(f"sleep {LONG}"), "the end of what was started", 10)
    wait_until(lambda: not psutil.pid_exists(forked), "the end of what was forked", 10)


def test_a_lock_that_is_another_users_holds_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuses_to_write(path: Path, how: int, mode: int = 0o777) -> int:
        if how & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, how, mode)

    with only_run("the other user's run"):
        monkeypatch.setattr(os, "open", refuses_to_write)
        with pytest.raises(InvalidInput, match="another run has this machine: the other user's run"), only_run("mine"):
            pass
    with only_run("mine") as mark:  # nobody has it now: it can be locked, though not written in
        assert mark


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    monkeypatch.setattr("bench.measure.lock.lock_file", lambda: tmp_path / "lock")
    (tmp_path / "lock").symlink_to(precious)
    with pytest.raises(InvalidInput, match="cannot be opened"), only_run("mine"):
        pass
    assert precious.read_text() == "precious"


def test_only_a_runs_own_processes_are_ended(tmp_path: Path) -> None:
    stranger = psutil.Popen(["sleep", f"{LONG}9"])
    try:
        assert end_strays(f"{lock_file()}:") == 0
        assert stranger.is_running()
    finally:
        stranger.kill()
        stranger.wait()

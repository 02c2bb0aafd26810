"""``bench train``: it goes on as if nothing had been, says what is wrong, and loses nothing."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.frameworks import need
from support.processes import alive, ask, bench, one_line, start, wait_until
from support.training_cases import same_state

from bench.measure.errors import Invalid
from bench.train.checkpoint import About, Checkpoint, read_about, read_checkpoint, write_checkpoint
from bench.train.presets import PRESET
from bench.train.request import HEAD_FILE, read_head
from bench.train.run import patient
from bench.train.worker import Evaluated, News, Step, Training, beginning
from bench.workloads import dictionary
from bench.workloads.task import Task, read_task
from impls.contract import InvalidInput
from impls.training import TrainingState
from impls.training_reference import TrainingReference

ROW = "thinc/tuned"
NAME = "thinc-tuned-seed-0.safetensors"
SMOKE = PRESET["smoke"]


@cache
def task() -> Task:
    return read_task(SMOKE.lengths)


def about(**changed: Any) -> About:
    config = SMOKE.config(task().symbols)
    given = {"row": "numpy/reference", "seed": 0, "preset": "smoke", "target": 0.1, "phonemes": task().symbols.phonemes}
    return About(**given | {"config": config} | changed)


def training(folder: Path, checkpoint: Checkpoint) -> Training:
    model = TrainingReference(checkpoint.about.config, SMOKE.recipe, np.float32)
    return Training(model, task(), checkpoint, folder)


@cache
def uninterrupted(folder: Path) -> Checkpoint:
    training(folder, beginning(about())).run(lambda _: None, lambda: False)
    return read_checkpoint(folder / about().name)


def same(one: Checkpoint, other: Checkpoint) -> None:
    """All but the times."""
    same_state(one.state, other.state)
    assert one.about == other.about and np.array_equal(one.losses, other.losses)


@settings(max_examples=5)
@given(stops=st.lists(st.integers(0, 25), min_size=1, max_size=3))
def test_a_training_that_is_stopped_anywhere_ends_as_if_it_had_not(
    stops: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("stopped")
    path = folder / about().name
    for more in [*stops, 1000]:
        checkpoint = read_checkpoint(path) if path.exists() else beginning(about())
        left = iter(range(more))
        training(folder, checkpoint).run(lambda _: None, lambda left=left: next(left, None) is None)
    same(read_checkpoint(path), uninterrupted(tmp_path_factory.getbasetemp()))


def test_what_it_says_and_what_it_ends_with(tmp_path: Path) -> None:
    news: list[News] = []
    training(tmp_path, beginning(about())).run(news.append, lambda: False)
    found = read_checkpoint(tmp_path / about().name)
    steps = [one.step for one in news if isinstance(one, Step)]
    assert steps == sorted(steps)
    assert tuple(one.evaluation for one in news if isinstance(one, Evaluated)) == found.about.evaluations
    assert [one.step for one in found.about.evaluations] == [20, 40]
    assert found.about.ending == "missed" and found.about.test is not None and found.about.step == 40
    assert len(found.losses) == len(found.step_s) == 40 and found.train_s > 0
    assert found.is_first.sum() == len(set(shapes(40)))
    assert np.mean(found.losses[-5:]) < np.mean(found.losses[:5])


def shapes(count: int) -> list[tuple[int, int]]:
    batches = task().batches(SMOKE.batch_size, 0)
    return [next(batches).shape for _ in range(count)]


def test_it_ends_where_it_is_right_often_enough(tmp_path: Path) -> None:
    training(tmp_path, beginning(about(target=0.95))).run(lambda _: None, lambda: False)
    found = read_about(tmp_path / about().name)
    assert found.ending == "reached" and found.step == 20 and found.test is not None and found.test.step == 20


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def another_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def another_shape(path: Path) -> None:
    one = read_checkpoint(path)
    parameters = one.state.parameters | {"output.bias": np.zeros(3, np.float32)}
    write_checkpoint(replace(one, state=one.state._replace(parameters=parameters)), path.parent)


def steers_a_terminal(path: Path) -> None:
    one = read_checkpoint(path)
    phonemes = ("\x1b[2J", *one.about.phonemes[1:])
    changed = msgspec.structs.replace(one.about, phonemes=phonemes)
    write_checkpoint(replace(one, about=changed), path.parent)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (damaged, "is no checkpoint of `python -m bench train`, or damaged"),
        (another_byte, r"is damaged \(what is in it is not what was written\)"),
        (another_shape, r"is damaged \(parameter output.bias has shape \(3,\)"),
        (lambda path: path.write_text("{}"), "is no checkpoint"),
        (steers_a_terminal, "it has control characters"),
        (Path.unlink, "cannot be read"),
    ],
    ids=["cut off", "another byte", "another shape", "no safetensors", "steers a terminal", "gone"],
)
def test_what_is_no_checkpoint_is_refused(harm: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    write_checkpoint(beginning(about()), tmp_path)
    path = tmp_path / about().name
    harm(path)
    with pytest.raises(InvalidInput, match=words):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "0"], "--target 0: must be a phoneme error in percent, above 0 and below 100"),
        (["--target", "ten"], "--target ten: must be a phoneme error"),
        (["--target", "nan"], "--target nan: must be a phoneme error"),
        (["--seeds", "1" * 5000], "must be a whole number from 1 to 100"),
        (["--seeds", "0"], "--seeds 0: must be a whole number from 1 to 100"),
        (["--budget", "soon"], "--budget soon: must be a time such as"),
        (["--threads", "0"], "--threads 0: must be from 1 to"),
        (["--impl", "torch/cell"], "--impl torch/cell: has no training; choose from jax/nnx_split"),
        (["--impl", "torch/none"], "unknown row 'torch/none'"),
        (["--preset", "full"], "preset"),
        (["--out", "."], "--out .: exists already"),
        (["--resume", "nowhere"], "nowhere: no such folder"),
        (["--resume", "nowhere", "--target", "10"], "leave all but --budget"),
        (["--resume", "nowhere", "--threads", "2"], "leave all but --budget"),
    ],
    ids=lambda own: " ".join(own) if isinstance(own, list) else "",
)
def test_bad_input_is_one_line(arguments: list[str], words: str) -> None:
    one_line(ask("train", *arguments), words)


def test_no_dictionary_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    need("thinc")
    monkeypatch.setattr(dictionary, "DISTRIBUTION", "no-such-package")
    one_line(ask("train", "--impl", ROW), "bench train needs the package no-such-package, which is not installed")


def train(folder: Path, *arguments: str, out: str = "out") -> Any:
    (folder / "machine").mkdir(exist_ok=True)
    own = ["--impl", ROW, "--preset", "smoke", "--out", str(folder / out)] if "--resume" not in arguments else []
    return bench("train", *own, *arguments, env={"TMPDIR": str(folder / "machine")})


@pytest.fixture
def done(tmp_path: Path) -> Path:
    need("thinc")
    found = train(tmp_path)
    assert found.returncode == 0, found.stderr
    assert "thinc/tuned     0  missed     40" in found.stdout, found.stdout
    return tmp_path / "out"


@pytest.mark.thorough
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(done: Path, tmp_path: Path) -> None:
    out, env = tmp_path / "killed", {"TMPDIR": str(tmp_path / "machine")}
    run = start("train", "--impl", ROW, "--preset", "smoke", "--out", str(out), env=env)
    wait_until(lambda: (out / NAME).exists(), "a checkpoint")
    run.kill()
    run.communicate()
    assert read_about(out / NAME).step >= SMOKE.evaluate_every
    run = start("train", "--resume", str(out), env=env)
    for wait_s in (1.2, 1.6):
        try:
            run.wait(wait_s)
        except Exception:
            run.kill()
        run.communicate()
        run = start("train", "--resume", str(out), env=env)
    _, said = run.communicate()
    assert run.returncode == 0, said
    same(read_checkpoint(out / NAME), read_checkpoint(done / NAME))


SURELY_STEPS_S = 12.0
"""Of processor time: a worker that imports PyTorch and reads the dictionary needs a third of it."""


@pytest.mark.thorough
def test_ctrl_c_loses_nothing(tmp_path: Path) -> None:
    need("torch")
    out, env = tmp_path / "out", {"TMPDIR": str(tmp_path)}
    run = start("train", "--impl", "torch/tuned", "--out", str(out), env=env)
    (row,) = ["torch-tuned-seed-0"]

    def steps() -> bool:
        return any(one.cpu_times().user > SURELY_STEPS_S for one in alive("bench.train.worker", str(tmp_path)))

    wait_until(steps, "steps")
    run.send_signal(signal.SIGINT)
    shown, said = run.communicate()
    assert run.returncode == 130, said
    assert "torch/tuned seed 0: is told to end, and keeps what it has\n" in said
    assert "interrupted; go on with: " in said and f"--resume {out}" in said and "not yet" in shown
    step = read_about(out / f"{row}.safetensors").step
    assert step > 0
    again = bench("train", "--resume", str(out), "--budget", "20s", env=env)
    assert again.returncode == 0 and "the budget is spent; go on with" in again.stderr, again.stderr
    assert read_about(out / f"{row}.safetensors").step > step


def test_a_second_ctrl_c_is_not_heard_while_a_training_ends() -> None:
    with patient():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(done: Path, tmp_path: Path) -> None:
    """A file may be so long here and no longer: as on a disk that is full."""
    need("thinc")
    limit = 4096
    out, env = tmp_path / "small", {"TMPDIR": str(tmp_path / "machine")}
    run = start("train", "--impl", ROW, "--preset", "smoke", "--out", str(out), env=env)
    wait_until(lambda: (out / HEAD_FILE).exists(), "the head")
    psutil.Process(run.pid).rlimit(resource.RLIMIT_FSIZE, (limit, limit))
    for child in psutil.Process(run.pid).children():
        child.rlimit(resource.RLIMIT_FSIZE, (limit, limit))
    _, said = run.communicate()
    assert run.returncode == 2, said
    assert f"{NAME}: File too large: what was there before is kept; make room; go on with: " in said, said
    again = train(tmp_path, "--resume", str(out))
    assert again.returncode == 0, again.stderr
    same(read_checkpoint(out / NAME), read_checkpoint(done / NAME))


def test_what_would_be_another_training_is_refused(done: Path, tmp_path: Path) -> None:
    head = msgspec.json.decode((done / HEAD_FILE).read_bytes())
    for change, words in (
        (lambda own: own["environment"].update(python="3.0"), "python not the same"),
        (lambda own: own["settings"].update(batch_size=1), "the preset smoke is not what it was"),
        (lambda own: own.update(trainer="2:0", seeds={ROW: 2}), "what trains has changed since"),
        (lambda own: own["code"][ROW].update(code="0"), "thinc/tuned has changed since"),
        (lambda own: own["code"].update({"thinc/gone": own["code"].pop(ROW)}), "thinc/gone: can no longer be trained"),
        (lambda own: own.update(target="x"), "train.json"),
        (lambda own: own.update(target=7), "train.json: is no result of this program, or damaged"),
        (lambda own: own.update(threads=64), "has 64 threads, and there are"),
        (lambda own: own.update(seeds={ROW: 0}), "train.json: is no result of this program, or damaged"),
        (lambda own: own.update(seeds={"thinc/tunee": 1}), "its rows and those that have code are not the same"),
    ):
        changed = msgspec.json.decode(msgspec.json.encode(head))
        change(changed)
        (done / HEAD_FILE).write_bytes(msgspec.json.encode(changed))
        one_line(train(tmp_path, "--resume", str(done)), words)
    assert isinstance(read_checkpoint(done / NAME).state, TrainingState)


def test_a_checkpoint_of_another_training_is_refused(done: Path, tmp_path: Path) -> None:
    path = done / NAME
    own = read_checkpoint(path)
    for change in ({"seed": 1}, {"row": "thinc/layers"}, {"target": 0.2}, {"phonemes": own.about.phonemes[::-1]}):
        other = replace(own, about=msgspec.structs.replace(own.about, **change))
        write_checkpoint(other, tmp_path)
        (tmp_path / other.about.name).rename(path)
        words = rf"is of another training \({other.about.row}, seed {other.about.seed}\); remove it, and its training"
        one_line(train(tmp_path, "--resume", str(done)), words)
    write_checkpoint(own, done)
    assert train(tmp_path, "--resume", str(done)).returncode == 0


def test_a_training_that_dies_is_said_and_the_next_one_is_made(tmp_path: Path) -> None:
    need("thinc")
    need("torch")
    env = {"TMPDIR": str(tmp_path)}
    out = tmp_path / "out"
    run = start("train", "--impl", "torch/tuned", ROW, "--preset", "smoke", "--out", str(out), env=env)

    wait_until(lambda: alive("bench.train.worker", str(tmp_path)), "a worker")
    alive("bench.train.worker", str(tmp_path))[0].kill()
    shown, said = run.communicate()
    assert run.returncode == 1, said
    assert "torch/tuned seed 0: crashed: the process ended by SIGKILL; what it has said: " in said
    assert "is told to end" not in said
    assert "to try again: " in said and f"--resume {out}" in said
    assert "torch/tuned     0  failed      –" in shown
    assert "thinc/tuned     0  missed     40" in shown and not (out / "torch-tuned-seed-0.safetensors").exists()


class NotANumber(TrainingReference):
    def train_step(self, letters: Any, before: Any, targets: Any) -> Any:
        return super().train_step(letters, before, targets) * (np.nan if self.state().step == 25 else 1.0)


def test_a_loss_that_is_no_number_ends_it_and_the_checkpoint_is_that_before(tmp_path: Path) -> None:
    first = beginning(about())
    model = NotANumber(first.about.config, SMOKE.recipe, np.float32)
    with pytest.raises(Invalid, match="the loss of step 25 is nan"):
        Training(model, task(), first, tmp_path).run(lambda _: None, lambda: False)
    assert read_about(tmp_path / about().name).step == 20


def test_an_evaluation_that_is_broken_off_is_made_when_it_goes_on(tmp_path: Path) -> None:
    folder, path, steps = tmp_path, tmp_path / about().name, iter(range(20))
    training(folder, beginning(about())).run(lambda _: None, lambda: next(steps, None) is None)
    broken = read_about(path)
    assert broken.step == 20 and broken.evaluations == ()
    training(folder, read_checkpoint(path)).run(lambda _: None, lambda: False)
    assert [one.step for one in read_about(path).evaluations] == [20, 40]


def test_more_rows_and_seeds_go_into_a_folder_and_what_is_there_stays(done: Path, tmp_path: Path) -> None:
    need("thinc")
    before = (done / NAME).read_bytes()
    made = train(tmp_path, "--resume", str(done), "--impl", "thinc/layers", "--seeds", "2")
    assert made.returncode == 0, made.stderr
    assert (done / NAME).read_bytes() == before
    names = {path.name for path in done.glob("*.safetensors")}
    assert names == {NAME, "thinc-layers-seed-0.safetensors", "thinc-layers-seed-1.safetensors"}
    head = read_head(done)
    assert head.seeds == {ROW: 1, "thinc/layers": 2} and head.command.endswith("--resume FOLDER --seeds 2")
    assert train(tmp_path, "--resume", str(done)).returncode == 0, "all has ended"


def test_what_has_ended_needs_no_trainer(done: Path, tmp_path: Path) -> None:
    head = msgspec.json.decode((done / HEAD_FILE).read_bytes())
    (done / HEAD_FILE).write_bytes(msgspec.json.encode(head | {"trainer": "2:0"}))
    assert train(tmp_path, "--resume", str(done)).returncode == 0

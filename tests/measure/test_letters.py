"""What is timed of a training: right rows pass, wrong ones are told, and rows without one say so."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from support.frameworks import need
from support.processes import ask, one_line

from bench.measure import letters, proof
from bench.measure.errors import Invalid
from bench.measure.letters import Trained, likeliest
from bench.measure.messages import ProblemFile
from bench.measure.plan import cells_of
from bench.measure.request import Options, check_request
from bench.records.schema import Cell
from bench.train.presets import PRESET
from bench.workloads import letters as problems
from bench.workloads.flops import BatchSizes, product_flops
from bench.workloads.shapes import WORDS, WORKLOADS
from impls import find_rows
from impls.contract import Seq2seqConfig
from impls.tasks import LETTER_TASKS, LetterTask
from impls.training import END, START, find_trainable, initial_state
from impls.training_reference import TrainingReference

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls import Row
    from impls.training import TrainingState

MODEL = Seq2seqConfig(embedding_dim=8, hidden_dim=6, num_encoder_layers=2, num_decoder_layers=2, bidirectional=True)
SIZES = ((4, 5), (6, 6))


def cell(task: LetterTask) -> Cell:
    place: dict[str, Any] = {"workload": "letters", "device": "cpu", "threads": 1}
    return Cell(implementation="numpy/mine", framework="numpy", tier="loop", task=task, **place)


@cache
def drawn() -> list[list[problems.Batch]]:
    rng = np.random.default_rng(0)

    def batch(t_x: int, t_y: int) -> problems.Batch:
        targets = rng.integers(2, problems.NUM_PHONEMES, (t_y, 5)).astype(np.int32)
        targets[-1] = END
        before = np.concatenate([np.full((1, 5), START, np.int32), targets[:-1]])
        return problems.Batch(rng.integers(0, 27, (t_x, 5)).astype(np.int32), before, targets)

    return [[batch(*lengths) for lengths in SIZES] for _ in range(2)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ProblemFile:
    path = tmp_path_factory.mktemp("problem") / "letters.safetensors"
    problems.save(problems.pose(MODEL, drawn()), problems.path_beside(str(path)))
    return ProblemFile(MODEL, str(path), tuple(BatchSizes(t_x, t_y, 5) for t_x, t_y in SIZES))


class Right(TrainingReference):
    def __init__(self, config: Any, recipe: Any) -> None:
        super().__init__(config, recipe, np.float32)

    def decode_greedy(self, letters: np.ndarray, steps: int) -> np.ndarray:
        return super().decode_greedy(letters, steps).astype(np.int32)


class Backwards(Right):
    """It reads words from their ends."""

    def decode_greedy(self, letters: np.ndarray, steps: int) -> np.ndarray:
        return super().decode_greedy(letters[::-1], steps)


class Remembers(Right):
    """It gives what it gave first for letters of that shape."""

    def decode_greedy(self, letters: np.ndarray, steps: int) -> np.ndarray:
        known = self.__dict__.setdefault("known", {})
        if letters.shape not in known:
            known[letters.shape] = super().decode_greedy(letters, steps)
        return known[letters.shape]


class NoPhoneme(Right):
    """It says what no phoneme is."""

    def decode_greedy(self, letters: np.ndarray, steps: int) -> np.ndarray:
        return super().decode_greedy(letters, steps) + 1000


class Short(Right):
    """It says one phoneme, however many are asked for."""

    def decode_greedy(self, letters: np.ndarray, steps: int) -> np.ndarray:
        return super().decode_greedy(letters, 1)


class Nothing(Right):
    """It says nothing."""

    def decode_greedy(self, letters: np.ndarray, steps: int) -> np.ndarray:
        return super().decode_greedy(letters, steps)[:0]


class ClipsHarder(Right):
    """It clips to a hundredth."""

    def __init__(self, config: Any, recipe: Any) -> None:
        super().__init__(config, replace(recipe, max_norm=recipe.max_norm / 100))


class Lazy(Right):
    """It works when it is asked for its state."""

    def state(self) -> Any:
        time.sleep(0.3)
        for batch in self.__dict__.pop("left", []):
            super().train_step(*batch)
        return super().state()

    def train_step(self, letters: np.ndarray, before: np.ndarray, targets: np.ndarray) -> np.ndarray:
        self.__dict__.setdefault("left", []).append((letters, before, targets))
        return np.asarray(self.gradients(letters, before, targets).loss)


class TooFew(Right):
    """It makes no step at all."""

    def train_step(self, letters: np.ndarray, before: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.asarray(self.gradients(letters, before, targets).loss)


class StandsStill(Right):
    """It counts steps, and makes none."""

    def train_step(self, letters: np.ndarray, before: np.ndarray, targets: np.ndarray) -> np.ndarray:
        self._optimizer.step_count += 1
        return np.asarray(self.gradients(letters, before, targets).loss)


class ForgetsMask(Right):
    """It learns that nothing is said after the end."""

    def gradients(self, letters: np.ndarray, before: np.ndarray, targets: np.ndarray) -> Any:
        return super().gradients(letters, before, np.where(targets == END, 7, targets))


def subject(row: type[Right], source: ProblemFile, monkeypatch: pytest.MonkeyPatch) -> Trained:
    monkeypatch.setattr(letters, "load_training", lambda _row, config, recipe, _device: row(config, recipe))
    return Trained(find_rows()["torch/module"], source, "cpu")


def turned(one: Trained, task: LetterTask, turns: int = 3) -> float:
    own = one.turns(cell(task), (1, 2))
    for _ in range(turns):
        (inputs,) = own.place(1)
        own.look(own.call(inputs))
    return own.verify(1.0)


def test_what_is_said_depends_on_the_letters_as_it_would_not_with_fresh_weights() -> None:
    config = problems.config_of(WORDS.config)
    grown, fresh = problems.LetterProblem(config, [], {}, {}).state, initial_state(config, problems.SEED)
    words = np.random.default_rng(0).integers(0, config.num_letters, (8, 32), np.int32)

    def different(state: TrainingState) -> int:
        oracle = TrainingReference(config, problems.RECIPE)
        oracle.load(state)
        return len({tuple(own) for own in oracle.decode_greedy(words, 7).T.tolist()})

    assert different(fresh) < 10 and different(grown) > 30


@pytest.mark.parametrize("task", LETTER_TASKS)
def test_a_right_row_passes(task: LetterTask, source: ProblemFile, monkeypatch: pytest.MonkeyPatch) -> None:
    one = subject(Right, source, monkeypatch)
    assert max(one.validate(cell(task), input_set) for input_set in (0, 1)) < 1e-5
    one.reset()
    assert turned(one, task) < 1e-6
    one.body(cell(task))()


@pytest.mark.parametrize(
    ("wrong", "task", "words"),
    [
        (Backwards, "decode_greedy", "the logit of what was said is off"),
        (NoPhoneme, "decode_greedy", "is no phoneme"),
        (Short, "decode_greedy", "what was said has shape"),
        (Nothing, "decode_greedy", "what was said has shape"),
        (ClipsHarder, "learn_step", "average of the gradients"),
        (TooFew, "learn_step", "losses is off|average of the gradients"),
        (StandsStill, "learn_step", "losses is off|average of the gradients"),
        (ForgetsMask, "learn_step", "losses is off"),
    ],
)
def test_wrong_values_are_told(
    wrong: type[Right], task: LetterTask, words: str, source: ProblemFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Invalid, match=words):
        subject(wrong, source, monkeypatch).validate(cell(task), 0)


@pytest.mark.parametrize(
    ("wrong", "task", "words"),
    [
        (Remembers, "decode_greedy", "the logit of what was said is off"),
        (Backwards, "decode_greedy", "the logit of what was said is off"),
        (Short, "decode_greedy", "what was said has shape"),
        (TooFew, "learn_step", "0 steps were made where 2 were timed"),
        (StandsStill, "learn_step", "training stands still"),
    ],
)
def test_who_does_less_in_its_turns_is_told(
    wrong: type[Right], task: LetterTask, words: str, source: ProblemFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Invalid, match=words):
        turned(subject(wrong, source, monkeypatch), task)


def test_a_right_row_whose_reading_was_late_takes_more_turns_and_passes(
    source: ProblemFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = iter([0.5])
    monkeypatch.setattr(proof, "late_by_s", lambda *_: next(late, None))
    assert turned(subject(Right, source, monkeypatch), "learn_step") < 1e-6


def test_long_before_its_schedule_ends_it_begins_again(source: ProblemFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "RECIPE", replace(problems.RECIPE, total_steps=300, warmup_steps=299))
    one = subject(Right, source, monkeypatch)
    own = one.turns(cell("learn_step"), (1, 2))
    for _ in range(90):
        (inputs,) = own.place(1)
        own.look(own.call(inputs))
    assert one.row.state().step < 160


def test_a_phoneme_as_likely_as_the_likeliest_is_right() -> None:
    oracle = TrainingReference(problems.config_of(MODEL), problems.RECIPE)
    state = initial_state(oracle.config, 0)
    twins = {name: own.copy() for name, own in state.parameters.items()}
    twins["output.weight"][7] = twins["output.weight"][9]
    twins["output.bias"][[7, 9]] = 100.0  # always one of these, and either is as likely
    oracle.load(state._replace(parameters=twins))
    words = np.zeros((3, 4), np.int32)
    said = oracle.decode_greedy(words, 4)
    assert np.all(said == 7) and likeliest(oracle, words, 4, said, "") == 0.0
    assert likeliest(oracle, words, 4, np.full_like(said, 9), "") == 0.0
    with pytest.raises(Invalid):
        likeliest(oracle, words, 4, np.full_like(said, 8), "")


def test_rows_without_a_training_and_workloads_without_words_say_so() -> None:
    rows, asked = find_rows(), (["decode_greedy"], "cpu", 1)
    _, (skipped,) = cells_of(rows["torch/cell"], [WORDS], *asked, "float32")
    assert skipped.reason == "the row has no training"
    elsewhere = msgspec.structs.replace(rows["torch/module"], path=Path("/own/torch/module.py"))
    _, (skipped,) = cells_of(elsewhere, [WORDS], *asked, "float32")
    assert skipped.reason == "the row has no training"
    _, (skipped,) = cells_of(rows["torch/module"], [WORKLOADS["seed"]], *asked, "float32")
    assert skipped.reason == "the workload has no words; --workload letters has"
    _, (skipped,) = cells_of(rows["torch/module"], [WORDS], *asked, "bfloat16")
    assert skipped.reason == "no training computes in bfloat16"
    _, (skipped,) = cells_of(rows["torch/module"], [WORKLOADS["letters"]], ["forward"], "cpu", 1, "float32")
    assert skipped.reason == "the workload is for what is timed of a training"


def test_words_are_what_is_decoded_where_no_workload_is_named() -> None:
    need("torch")
    asked: dict[LetterTask, list[str]] = {"decode_greedy": ["g2p", "word"], "learn_step": ["letters"]}
    for task, names in asked.items():
        request = check_request(Options(impl=("torch/module",), task=(task,)))
        assert [one.name for one in request.workloads] == names
    both = check_request(Options(impl=("torch/module",), task=("decode_greedy", "forward")))
    assert [one.name for one in both.workloads] == ["seed", "g2p", "latency", "braun"]


def test_the_words_of_letters_are_batches_of_training_and_stand_once() -> None:
    timed, unseen = problems.word_batches(WORKLOADS["letters"])
    assert [own.shape for own in timed] == [own.shape for own in unseen] and len(timed) == 8
    assert sorted(len(own.letters) for own in timed) == [len(own.letters) for own in timed]
    words = {tuple(column) for own in (*timed, *unseen) for column in own.letters.T.tolist()}
    assert len(words) == 8 * 2 * 128


def test_products_of_decoding_are_made_step_by_step_and_those_of_learning_reach_the_embeddings() -> None:
    sizes, width = [BatchSizes(4, 5, 3)], MODEL.decoder_hidden_dim
    output = 2 * 5 * 3 * width * problems.NUM_PHONEMES
    decoding, learning = (product_flops(MODEL, sizes, task) for task in LETTER_TASKS)
    assert decoding == product_flops(MODEL, sizes, "forward") + output
    assert learning == product_flops(MODEL, sizes, "gradients") + 3 * output


@pytest.mark.thorough
def test_a_run_of_both_tasks_has_times_and_bounds(tmp_path: Path) -> None:
    need("thinc")
    out = tmp_path / "out"
    arguments = ["--task", "decode_greedy", "learn_step", "--workload", "word", "--preset", "smoke"]
    done = ask("run", "--impl", "thinc/tuned", "thinc/layers", *arguments, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "decode_greedy cpu×1" in done.stdout and "learn_step cpu×1" in done.stdout
    shown = ask("table", str(out), "--format", "csv")
    assert shown.stdout.count(",ok,") >= 6
    one_line(
        ask("run", "--task", "decode_greedy", "--shape", "hidden_dim=8"),
        "the workload has no words; --workload letters has",
    )


@pytest.mark.parametrize("name", find_trainable())
def test_every_row_that_can_be_trained_decodes_and_learns_in_turns(
    name: str, source: ProblemFile, require: Callable[[Row], None]
) -> None:
    row = find_trainable()[name]
    require(row)
    one = Trained(row, source, "cpu")
    for task in LETTER_TASKS:
        assert one.validate(cell(task), 1) < 1e-5
        one.reset()
        assert turned(one, task) < 1e-5
    cells, _ = cells_of(row, [WORDS], LETTER_TASKS, "cpu", 1, "float32")
    assert [own.task for own in cells] == [*LETTER_TASKS]


def test_the_timed_steps_are_those_of_the_trainings() -> None:
    for preset in PRESET.values():
        if preset.workload is not None:
            timed = WORKLOADS[preset.workload]
            assert timed.config == preset.model and timed.batch_size == preset.batch_size and timed.as_trained
            assert preset.recipe.max_norm == problems.RECIPE.max_norm

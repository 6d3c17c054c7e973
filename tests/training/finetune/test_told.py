"""What `vlmguard train` prints: a line for each log, without control signs in a pipe."""

from types import SimpleNamespace

import pytest
import transformers

from vlmguard.training.finetune.told import Told, line_of


@pytest.mark.parametrize(
    ("logs", "line"),
    [
        (
            {"loss": 1.23456, "learning_rate": 1e-4, "grad_norm": 0.5, "epoch": 0.1},
            ["loss 1.235", "lr 1.0e-04", "gradient 0.5"],
        ),
        (
            {"eval_loss": 1.1, "eval_runtime": 3.0, "eval_mean_token_accuracy": 0.5},
            ["validation", "loss 1.1", "token accuracy 0.5"],
        ),
        ({"eval_format_rate": 0.95}, ["validation", "format rate 0.95"]),
        ({"loss": 0.1, "reward": 0.75, "kl": 0.01}, ["loss 0.1", "reward 0.75", "kl 0.01"]),
        ({"loss": 0.1, "reward": None}, ["loss 0.1"]),
        ({"train_runtime": 7300.0, "train_loss": 0.5}, ["done in 2.0 h", "mean loss 0.5"]),
        ({"epoch": 1.0}, []),
    ],
)
def test_a_log_is_said_in_words(logs: dict[str, float], line: list[str]) -> None:
    assert line_of(logs) == line


def test_lines_say_step_speed_and_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 110.0])
    clocks = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr("vlmguard.training.finetune.told.time", clocks)
    arguments = SimpleNamespace(
        train_batch_size=2, gradient_accumulation_steps=4, world_size=1, disable_tqdm=False
    )
    # A run that goes on from step 20: what was done before took no time now.
    state = transformers.TrainerState(global_step=20, max_steps=100, is_world_process_zero=True)
    told = Told()
    told.on_train_begin(arguments, state, None)
    state.global_step = 40
    told.on_step_end(arguments, state, None)
    told.on_prediction_step(arguments, state, None)
    told.on_log(arguments, state, None, logs={"loss": 0.5, "learning_rate": 1e-4})
    told.on_log(arguments, state, None, logs={"epoch": 1.0})
    told.on_train_end(arguments, state, None)

    shown = capsys.readouterr()
    assert shown.out == "step 40/100  loss 0.5  lr 1.0e-04  16 rows/s  left 30 s\n"
    assert shown.err == ""


def test_other_processes_of_a_run_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    state = transformers.TrainerState(global_step=1, max_steps=2, is_world_process_zero=False)
    told = Told()
    told.on_train_begin(None, state, None)
    told.on_log(None, state, None, logs={"loss": 0.5})

    assert capsys.readouterr().out == ""

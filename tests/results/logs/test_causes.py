"""A call that failed at each try is shown with what failed, not with Inspect's `RetryError`."""

import socket
from pathlib import Path

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log_sample_summaries
from inspect_ai.solver import generate

from vlmguard.guard.errors import UserError, cause_of
from vlmguard.results.logs.archive import opened_log
from vlmguard.results.logs.causes import cause_in, cause_of_sample
from vlmguard.results.logs.summaries import from_inspect
from vlmguard.results.run.cluster.running import _why

CLASS = "APIConnectionError (after all tries)"
SAID = f"{CLASS}: openai-api/gone/m: Connection error."


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    """Of a run whose server is not there."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GONE_API_KEY", "key")
        patch.setenv("GONE_BASE_URL", f"http://127.0.0.1:{port}/v1")
        (log,) = inspect_eval(
            Task(dataset=[Sample(id="a", input="hi")], solver=generate()),
            model="openai-api/gone/m",
            max_retries=0,
            display="none",
            log_dir=str(tmp_path_factory.mktemp("logs")),
        )
    return log


def test_summaries_and_samples_name_the_error_of_the_last_try(log: EvalLog) -> None:
    assert log.samples is not None
    assert log.error is not None
    assert "RetryError" in log.error.message  # or Inspect says it itself now
    assert cause_in(log.error.message) == CLASS
    assert cause_of_sample(log.samples[0]) == SAID
    with opened_log(log.location) as file:
        assert [each.error for each in file.summaries()] == [CLASS]
    summaries = read_eval_log_sample_summaries(log.location)
    assert [each.error for each in from_inspect(summaries)] == [CLASS]


def test_a_cell_of_a_cluster_says_what_the_server_said(log: EvalLog) -> None:
    said = _why(str(Path(log.location).parent))
    assert said == f"1 sample failed, the first (a): {SAID}"


def test_other_errors_stay(log: EvalLog) -> None:
    assert cause_in("ValueError('RetryError')") == "ValueError('RetryError')"
    error = UserError("Say more.")
    assert cause_of(error) is error

"""Configurations of a matrix: their faults are named before anything runs."""

from pathlib import Path

import pytest

from vlmguard.guard.errors import UserError
from vlmguard.results.run.chosen import read_config
from vlmguard.results.run.config import log_folder, roles

GOOD = """\
log_dir: LOGS
targets: [{model: mockllm/model}]
benchmarks: [{name: siuo}]
defenses: [{name: none, label: plain_1}]
prices: {mockllm/model: {input: 0, output: 1.5}}
"""


def read(folder: Path, text: str) -> None:
    path = folder / "matrix.yaml"
    path.write_text(text)
    read_config(path)


def test_a_good_one_is_read(tmp_path: Path) -> None:
    read(tmp_path, GOOD)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("output: 1.5", "output: -1", "prices.mockllm/model.output"),
        ("output: 1.5", "output: .nan", "prices.mockllm/model.output"),
        ("input: 0", "input: .inf", "prices.mockllm/model.input"),
        ("1.5}", "1.5, input_tokens: -3}", "prices.mockllm/model.input_tokens"),
        ("plain_1", "../../x", "defenses.0.label"),
        ("plain_1", "/x", "defenses.0.label"),
        ("plain_1", "a/../b", "defenses.0.label"),
        ("plain_1", "..", "defenses.0.label"),
        ("plain_1", '""', "defenses.0.label"),
        ("plain_1", '"a\\0b"', "defenses.0.label"),
        ("plain_1", '"a\\nb"', "defenses.0.label"),
        ("plain_1", "'" + "a" * 101 + "'", "defenses.0.label"),
        ("LOGS", '"a\\0b"', "log_dir"),
        ("mockllm/model}]", '""}]', "targets.0.model"),
        ("LOGS", "a\nlog_dir: b", "the key 'log_dir' occurs twice"),
        ("LOGS", "a\noptions: {epochs: true}", "epochs: True is no whole number"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert old in GOOD
    with pytest.raises(UserError) as refused:
        read(tmp_path, GOOD.replace(old, new))
    assert says in str(refused.value)
    assert "matrix.yaml" in str(refused.value)


def test_a_name_alone_is_a_model_a_benchmark_or_a_defense(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text(
        "targets: [mockllm/model]\nbenchmarks: [siuo]\ndefenses: [none]\n"
        "roles: {grader: [mockllm/a, {model: mockllm/b}], rewriter: mockllm/c}\n"
    )
    matrix = read_config(path)
    (defense,) = matrix.defenses
    assert [each.model for each in matrix.targets] == ["mockllm/model"]
    assert ([each.name for each in matrix.benchmarks], defense.name) == (["siuo"], "none")
    bound = {role: [m.model for m in models] for role, models in roles(matrix, defense).items()}
    assert bound == {"grader": ["mockllm/a", "mockllm/b"], "rewriter": ["mockllm/c"]}


def test_a_log_dir_in_the_home_folder_is_there_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "matrix.yaml"
    path.write_text(GOOD.replace("LOGS", "~/logs"))
    assert read_config(path).log_dir == f"{tmp_path}/logs"
    assert log_folder("~") == str(tmp_path)
    for other in ("logs", "./~/logs", "a~", "s3://bucket/~/logs", "/tmp/logs/"):
        assert log_folder(other) == other
    with pytest.raises(UserError, match="~nobody-of-this-name/logs: cannot be a path here"):
        log_folder("~nobody-of-this-name/logs")


@pytest.mark.parametrize("mark", "%#?")
@pytest.mark.parametrize("log_dir", ["logs/a{}20b/c", "/tmp/a{}", "file:///tmp/a{}/b"])
def test_a_log_dir_whose_logs_could_not_be_read_is_refused(
    tmp_path: Path, mark: str, log_dir: str
) -> None:
    with pytest.raises(UserError, match=rf"cannot read logs below a folder with \{mark} in its"):
        read(tmp_path, GOOD.replace("LOGS", f"'{log_dir.format(mark)}'"))
    assert log_folder(f"s3://bucket/a{mark}b") == f"s3://bucket/a{mark}b"


def test_a_current_folder_where_logs_could_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a#b").mkdir()
    monkeypatch.chdir(tmp_path / "a#b")
    for text in (GOOD, GOOD.replace("log_dir: LOGS\n", "")):
        with pytest.raises(UserError, match="Name another one"):
            read(tmp_path, text)
    read(tmp_path, GOOD.replace("LOGS", str(tmp_path / "logs")))

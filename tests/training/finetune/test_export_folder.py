"""Missing data are reported before any slow import."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from vlmguard.cli import main
status = main(sys.argv[1:])
assert not {"torch", "trl", "transformers", "datasets"} & sys.modules.keys()
sys.exit(status)
"""


def test_a_missing_folder_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for data, words in (
        ("nowhere", f"no such folder: {tmp_path / 'nowhere'}. Write it with"),
        ("empty", f"data: {tmp_path / 'empty' / 'provenance.json'} is missing"),
    ):
        settings = [f"data={tmp_path / data}", f"output_dir={tmp_path / 'out'}"]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "train", "--config", "qwen2-vl-7b-lora", *settings],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
    assert not (tmp_path / "out").exists()

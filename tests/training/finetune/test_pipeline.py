"""The four documented commands, from a JSONL file of raw rows to an evaluated adapter."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from support.checkpoints import checkpoint
from support.openai_server import openai_server
from support.siuo_folder import write_siuo
from support.synthesis import draw_image, good_reply, raw_row, stage_of

from vlmguard import DefenseRecord


def script(text: str, messages: list[dict[str, Any]]) -> str:
    """One server for reasoner, target and judge."""
    if "You grade" in text:
        return 'Fine.\n{"safety": 8, "helpful": true}'
    return "Open a window first." if stage_of(text) == "answer" else good_reply(text)


@pytest.mark.slow
def test_four_commands_lead_to_an_evaluated_adapter(tmp_path: Path, cli: Any) -> None:
    raw = []
    for number in range(6):
        draw_image(tmp_path / "raw" / "images" / f"{number}.png", number)
        raw.append(raw_row(number, benign=number % 2 == 1))
    rows = tmp_path / "raw" / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in raw))
    siuo = write_siuo(tmp_path / "siuo", 2)
    base = checkpoint("qwen2_vl")
    commands = f"""
        inspect eval vlmguard/synthesize -T data={rows} --log-dir synthesis
            --model-role reasoner=openai-api/scripted/reasoner
        ---
        vlmguard export synthesis --out out/data --validation 0.3 --test-sets {tmp_path}
        ---
        vlmguard train --config qwen2-vl-7b-lora model={base} data=out/data
            output_dir=out/rewriter max_steps=2 per_device_train_batch_size=2
            gradient_accumulation_steps=1 bf16=false max_pixels=null dataloader_num_workers=0
            quality_max_tokens=4
        ---
        inspect eval vlmguard/siuo --solver vlmguard -T data_dir={siuo} --log-dir logs
            --model openai-api/scripted/target --model-role grader=openai-api/scripted/judge
            --model-role "rewriter={{model: hf-vlm/{base}, model_args: {{adapter: out/rewriter}}}}"
            --max-tokens 8
    """
    with openai_server(script) as server:
        environment = server.environment() | {"OMP_NUM_THREADS": "1", "VLMGUARD_DATA": ""}
        for command in commands.split("---\n"):
            done = cli(*shlex.split(command), cwd=tmp_path, env=environment)
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert (tmp_path / "out/rewriter/adapter_model.safetensors").is_file()
    (found,) = list_eval_logs(str(tmp_path / "logs"))
    log = read_eval_log(found)
    assert log.status == "success"
    role_used = log.eval.model_roles["rewriter"]  # type: ignore[index]
    assert role_used.args["adapter"] == "out/rewriter"
    for sample in log.samples or []:
        assert sample.scores
        assert DefenseRecord.of(sample).original.startswith("May I paint")

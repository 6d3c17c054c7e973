"""The README.md of a trained rewriter: its data, training, metrics and use."""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from vlmguard.guard.cards import cards
from vlmguard.guard.package import PACKAGE
from vlmguard.guard.redaction import redact
from vlmguard.training.finetune.config import TrainConfig

PACKAGES: Final = (PACKAGE, "torch", "transformers", "trl", "peft", "accelerate", "datasets")

CARD: Final = """\
---
{front}
---

# {title}

A prompt rewriter for the safety of vision-language models: it reads an image and a request, and
writes the request that is passed on to another model.
{made}

## Use

```bash
{commands}
```

Evaluate it before relying on it: validation rates below say how well it imitates its training
data, not how safe the answers are that follow from its rewrites.

## Data

{data}

## Metrics

{metrics}

## Configuration

```json
{config}
```

## Versions

{versions}
"""

_SERVING: Final = f"{PACKAGE}.training.finetune.vllm_adapters"
_PROVENANCE: Final = (
    *("targets", "rows", "sources", "reasoners", "templates"),
    *("rewriter_prompt", "rewriter_template", "voided_test_sets"),
)

_ROWS: Final = {
    "eval_loss": "validation loss",
    "eval_mean_token_accuracy": "validation token accuracy",
    "eval_format_rate": "replies from which a request can be read",
    "eval_intent_kept": "rewrites that keep the request's words",
    "eval_benign_unchanged": "benign requests left as they are",
    "loss": "training loss (at the end)",
    "train_loss": "training loss (mean over the last start)",
    "train_runtime": "training time in seconds (of the last start)",
    "train_samples_per_second": "training rows per second (of the last start)",
}


def model_card(
    config: TrainConfig,
    *,
    provenance: dict[str, Any],
    rows: dict[str, int],
    targets: str,
    metrics: dict[str, float],
    history: list[dict[str, Any]],
    arguments: dict[str, Any],
) -> str:
    """Write the card.

    Args:
        config: The run.
        provenance: The export's `provenance.json`.
        rows: Number of rows by split.
        targets: `reasoning` or `direct`.
        metrics: Metrics of the training; empty if no steps were left.
        history: The log of the run.
        arguments: The arguments for TRL that the user set.

    Returns:
        Markdown with a YAML head.
    """
    latest: dict[str, Any] = {}
    for entry in history:
        latest |= {
            # None if no reward could be given: the earlier value stays.
            k: v
            for k, v in entry.items()
            if v is not None and (k == "loss" or k.startswith(("eval_", "reward")))
        }
    return CARD.format(
        front=_front(config),
        title=f"Rewriter from {config.model}",
        made=_made(config, targets),
        commands=_commands(config, targets, provenance.get("rewriter_prompt", 1)),
        data=_data(provenance, rows),
        metrics=_metrics({**latest, **metrics}, config.method),
        config=json.dumps(_settings(config, arguments), indent=2, default=str),
        versions="\n".join(f"- {name} {_version(name)}" for name in PACKAGES),
    )


def _front(config: TrainConfig) -> str:
    # The hub refuses a card whose base is not on the hub.
    is_folder = config.model.startswith(("/", ".", "~")) or Path(config.model).is_dir()
    lines = [
        *([] if is_folder else [f"base_model: {json.dumps(config.model)}"]),
        f"library_name: {'peft' if config.peft == 'lora' else 'transformers'}",
        "pipeline_tag: image-text-to-text",
        "tags: [vlmguard, prompt-rewriter, trl]",
    ]
    return "\n".join(lines)


def _made(config: TrainConfig, targets: str) -> str:
    how = (
        "trained by GRPO on judged answers"
        if config.method == "grpo"
        else "fine-tuned on exported rewrites"
    )
    what = "a LoRA adapter on the language model" if config.peft == "lora" else "all weights"
    start = f", going on from `{config.adapter}`" if config.adapter else ""
    shape = "reasons before it rewrites" if targets == "reasoning" else "writes the rewrite alone"
    return f"It was {how}{start} ({what}), and {shape}."


def eval_command(
    config: TrainConfig, targets: str, prompt: int, folder: str = "THIS_FOLDER"
) -> tuple[str, str]:
    """The command that evaluates a rewriter, up to the models of the other roles.

    Args:
        config: The run.
        targets: `reasoning` or `direct`.
        prompt: Version of the rewriter's prompt in the rows.
        folder: Where the rewriter is.

    Returns:
        Its first half, and the option that names the rewriter.
    """
    # For use from a server or the hub; a local folder states the version itself.
    (ours,) = [card.name for card in cards().defenses.values() if card.ours]
    solver = f"{ours} -S prompt={prompt}"
    if targets != "reasoning":
        solver += " -S reasoning=false"
    if config.peft == "lora":
        base = config.model
        # The same image size as in training. A whole checkpoint's processor already has it.
        bounds = {"min_pixels": config.min_pixels, "max_pixels": config.max_pixels}
        given = {"adapter": folder} | {k: v for k, v in bounds.items() if v is not None}
        listed = ", ".join(f"{name}: {value}" for name, value in given.items())
        role = f'rewriter="{{model: hf-vlm/{base}, model_args: {{{listed}}}}}"'
    else:
        role = f"rewriter=hf-vlm/{folder}"
    return f"inspect eval {PACKAGE}/BENCHMARK --solver {solver}", f"--model-role {role}"


def _commands(config: TrainConfig, targets: str, prompt: int) -> str:
    command, role = eval_command(config, targets, prompt)
    served = f"{config.model}:THIS_FOLDER" if config.peft == "lora" else "THIS_FOLDER"
    other = f"# with vLLM (not confirmed yet): --model-role rewriter=vllm/{served}"
    if config.peft == "lora":
        other += f"\n# served by name: python -m {_SERVING} rewriter=THIS_FOLDER says how"
    return f"{command} \\\n  {role} ...\n{other}"


def _data(provenance: dict[str, Any], rows: dict[str, int]) -> str:
    lines = [f"- split `{name}`: {count} rows" for name, count in rows.items()]
    known = {key: provenance[key] for key in _PROVENANCE if key in provenance}
    lines.append(f"\nProvenance:\n\n```json\n{json.dumps(known, indent=2)}\n```")
    leaks = provenance.get("leaks")
    if leaks is None:
        lines.append("\nNobody compared the rows with test sets. Do not report results on them.")
    else:
        short = {k: len(v) if isinstance(v, list | dict) else v for k, v in leaks.items()}
        short |= {key: leaks[key] for key in ("checked", "unchecked") if key in leaks}
        lines.append(f"\nComparison with test sets:\n\n```json\n{json.dumps(short, indent=2)}\n```")
    return "\n".join(lines)


def _metrics(metrics: dict[str, Any], method: str) -> str:
    named = dict(_ROWS)
    if method == "grpo":
        named |= {key: key for key in metrics if key.startswith("reward")}
    lines = [f"| {label} | {metrics[key]:.4g} |" for key, label in named.items() if key in metrics]
    return "| | |\n|---|---|\n" + "\n".join(lines) if lines else "None were logged."


def _settings(config: TrainConfig, arguments: dict[str, Any]) -> dict[str, Any]:
    own = {k: v for k, v in config.model_dump().items() if k != "trainer" and v is not None}
    found: dict[str, Any] = redact(own | arguments)
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"

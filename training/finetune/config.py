"""The settings of a training run that are our own; `trl_options` has TRL's."""

from typing import Annotated, Any, Literal, Self

from inspect_ai.model import GenerateConfig
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from vlmguard.guard.errors import UserError, first_fault
from vlmguard.guard.thresholds import SAFE_FROM


class ModelSettings(GenerateConfig):
    """An Inspect model: its name, its arguments, and generation settings beside them."""

    model_config = ConfigDict(protected_namespaces=())

    model: str
    model_args: dict[str, Any] = Field(default_factory=dict)
    base_url: str | None = None


def model_settings(spec: str | dict[str, Any]) -> ModelSettings:
    """Read what a configuration says of a model.

    Args:
        spec: Its name, or a mapping with the fields of `ModelSettings`.

    Raises:
        ValueError: An unknown setting, or one that does not fit.
    """
    try:
        return ModelSettings.model_validate({"model": spec} if isinstance(spec, str) else spec)
    except ValidationError as error:
        where, said = first_fault(error)
        raise ValueError(
            f"{f'{where}: ' if where else ''}{said.rstrip('.')}. Give an Inspect model's name, or "
            "a mapping with model, model_args, base_url and generation settings such as "
            "temperature. Keys come from the environment."
        ) from error


def _checked(spec: str | dict[str, Any]) -> str | dict[str, Any]:
    model_settings(spec)
    return spec


ModelSpec = Annotated[str | dict[str, Any], AfterValidator(_checked)]
"""A model for `model_settings`, as the user wrote it."""


class TrainConfig(BaseModel):
    """One training run.

    Attributes:
        data: Folder written by `vlmguard export`: splits `train` and `validation`.
        output_dir: Folder for checkpoints and the result.
        method: `sft` (imitate the exported rewrites) or `grpo` (second stage on judged answers).
        model: Image-text-to-text checkpoint, hub id or folder.
        revision: Branch, tag or commit of the checkpoint.
        trust_remote_code: Run code that comes with the checkpoint.
        dtype: `auto`, `float32`, `bfloat16` or `float16`. `auto` loads in bfloat16 for LoRA on
            hardware that has it, otherwise in float32.
        attn_implementation: `sdpa`, `flash_attention_2`, ...; None for the default.
        min_pixels: Lower bound of the image size in pixels, if the processor has one.
        max_pixels: Upper bound; larger images cost more memory and time.
        peft: `lora` (the language model's linear layers) or `none` (all weights).
        adapter: PEFT adapter to continue from, made for the same base; `peft: lora` only.
        lora_r: Rank. vLLM accepts up to 16 by default.
        lora_alpha: Scale.
        lora_dropout: Dropout, 0 to 1.
        train_vision: Train the vision tower too; `peft: none` only.
        targets: `reasoning` or `direct` (the rewrite alone); None for the form in the data. Data
            with reasoning can be trained in both ways.
        resume: Continue from the last complete checkpoint in `output_dir`, if there is one.
        strict_text: Refuse test texts (without their image) among the training rows, too.
        quality_rows: Number of validation rows that are rewritten at each evaluation.
        quality_batch_size: Number of these rows per batch.
        quality_max_tokens: Most new tokens of such a rewrite.
        target: `grpo`: the Inspect model that answers the rewritten requests.
        grader: `grpo`: the judge or judges.
        judge_template: `grpo`: file with a judge prompt that replaces ours.
        threshold: `grpo`: an answer with this safety grade (0 to 10) or more counts as safe.
        answer_max_tokens: `grpo`: most tokens of the target's answer.
        failed_calls: `grpo`: share of the last 200 calls to target and judges that may fail, 0 to
            1; beyond it the run ends.
        format_penalty: `grpo`: subtracted if a reply cannot be used.
        benign_penalty: `grpo`: subtracted if a benign request was changed.
        trainer: The arguments for TRL's own configuration.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    data: str = Field(min_length=1)
    output_dir: str = Field(min_length=1)
    method: Literal["sft", "grpo"] = "sft"
    model: str = "Qwen/Qwen2-VL-7B-Instruct"
    revision: str | None = None
    trust_remote_code: bool = False
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attn_implementation: str | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    peft: Literal["lora", "none"] = "lora"
    adapter: str | None = None
    lora_r: int = Field(default=16, ge=1)
    lora_alpha: int = 32
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    train_vision: bool = False
    targets: Literal["reasoning", "direct"] | None = None
    resume: bool = True
    strict_text: bool = False
    quality_rows: int = Field(default=64, ge=0)
    quality_batch_size: int = Field(default=8, ge=1)
    quality_max_tokens: int = Field(default=512, ge=1)
    target: ModelSpec | None = None
    grader: ModelSpec | list[ModelSpec] | None = None
    judge_template: str | None = None
    threshold: float = Field(default=SAFE_FROM, ge=0, le=10)
    answer_max_tokens: int = Field(default=1024, ge=1)
    failed_calls: float = Field(default=0.1, ge=0, le=1)
    format_penalty: float = Field(default=1.0, ge=0)
    benign_penalty: float = Field(default=1.0, ge=0)
    trainer: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.peft == "none" and self.adapter:
            raise UserError("adapter goes with peft: lora. Merge it into its base, or drop it.")
        if self.peft == "lora" and self.train_vision:
            raise UserError("train_vision goes with peft: none; LoRA trains the language model.")
        if self.method == "grpo" and not (self.target and self.grader):
            raise UserError(
                "method: grpo needs target (whose answers are judged) and grader (the judge), "
                "both Inspect models, e.g. `grader: openai/gpt-4o`."
            )
        return self

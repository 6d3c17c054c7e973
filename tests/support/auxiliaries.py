"""Tiny checkpoints of the defenses' auxiliary models, saved as the hub has them.

Two reward models have their own code, like ArmoRM: `build_gated_reward` has its shape (Llama,
objectives, gate, random weights), `build_word_reward` adds a number per word, so that a test can
compute rewards by hand.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from support.checkpoints import build_gemma3
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

GATED_CODE = '''\
"""A reward model with code of its own: objectives, weighted by a gate that sees the prompt."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import LlamaModel, LlamaPreTrainedModel
from transformers.models.llama.modeling_llama import LLAMA_INPUTS_DOCSTRING
from transformers.utils import ModelOutput, add_start_docstrings_to_model_forward


@dataclass
class RewardOutput(ModelOutput):
    rewards: torch.FloatTensor = None
    score: torch.FloatTensor = None
    logits: torch.FloatTensor = None


class GatedReward(LlamaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.objectives = nn.Linear(config.hidden_size, config.num_objectives, bias=False)
        self.gate = nn.Linear(config.hidden_size, config.num_objectives)
        self.post_init()

    @add_start_docstrings_to_model_forward(LLAMA_INPUTS_DOCSTRING)
    def forward(self, input_ids=None, attention_mask=None, return_dict=None):
        """Score."""
        hidden = self.model(input_ids, attention_mask=attention_mask)[0]
        rewards = self.objectives(hidden[:, -1])
        score = (self.gate(hidden[:, 0]).softmax(-1) * rewards).sum(-1)
        return RewardOutput(rewards=rewards, score=score, logits=-score)
'''

WORD_CODE = '''\
"""A reward model that adds up a figure per word."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import LlamaPreTrainedModel
from transformers.utils import ModelOutput


@dataclass
class RewardOutput(ModelOutput):
    score: torch.FloatTensor = None


class WordReward(LlamaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.figures = nn.Embedding(config.vocab_size, 1)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None):
        return RewardOutput(score=self.figures(input_ids).sum((1, 2)))
'''

CHAT_TEMPLATE = (
    "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }} {% endfor %}"
)

WORDS = ["[user]", "[assistant]", *"abcdefghij", "good", "bad", "poor", "fine", "."]


def word_tokenizer(words: list[str] | None = None) -> Any:
    """One token per word or punctuation mark; others are `<unk>`."""
    vocabulary = {
        word: index
        for index, word in enumerate(dict.fromkeys(["<unk>", "<pad>", "</s>", *(words or WORDS)]))
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(r"\[\w+\]|\w+|[^\w\s]"), behavior="removed", invert=True
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    )


def llama_config(tokenizer: Any, **more: Any) -> transformers.LlamaConfig:
    """A Llama of two layers."""
    return transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=more.pop("length", 256),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        **more,
    )


def build_gated_reward(folder: Path, *, seed: int = 0) -> Path:
    """A reward model of ArmoRM's kind; its logits differ from its score on purpose."""
    tokenizer = word_tokenizer()
    config = llama_config(tokenizer, num_objectives=3)
    return _save_with_code(folder, config, tokenizer, "GatedReward", GATED_CODE, seed)


def build_word_reward(folder: Path, figures: dict[str, float]) -> Path:
    """A reward model whose score is the sum of these numbers over the words of the chat."""
    tokenizer = word_tokenizer([*WORDS, *figures])
    config = llama_config(tokenizer)
    _save_with_code(folder, config, tokenizer, "WordReward", WORD_CODE, 0)
    table = torch.zeros(len(tokenizer), 1)
    for word, figure in figures.items():
        table[tokenizer.convert_tokens_to_ids(word)] = figure
    _write_weights(folder, {"figures.weight": table})
    return folder


def build_classifier(folder: Path, *, labels: int = 1, length: int = 256, seed: int = 0) -> Path:
    """A merged Llama sequence classifier."""
    tokenizer = word_tokenizer()
    config = llama_config(tokenizer, num_labels=labels, length=length)
    return _save(folder, transformers.LlamaForSequenceClassification, config, tokenizer, seed)


def build_causal_lm(folder: Path, *, length: int = 256, seed: int = 0) -> Path:
    """A Llama language model that never ends: special tokens are never the most likely."""
    tokenizer = word_tokenizer()
    config = llama_config(tokenizer, length=length)
    _save(folder, transformers.LlamaForCausalLM, config, tokenizer, seed)
    model = transformers.LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.lm_head.weight[:3] = 0
    model.save_pretrained(folder)
    return folder


def build_adapter(folder: Path, base: Path, task: str, *, rank: int = 4, seed: int = 0) -> Path:
    """A LoRA adapter (`SEQ_CLS` or `CAUSAL_LM`) with random weights, on a base's q and v."""
    torch.manual_seed(seed)
    if task == "SEQ_CLS":
        model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(task_type=task, r=rank, target_modules=["q_proj", "v_proj"])
    adapted = peft.get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:  # zero at first: an adapter without effect would prove nothing
            torch.nn.init.normal_(parameter, std=0.5)
    adapted.save_pretrained(folder)
    return folder


def merge_adapter(folder: Path, base: Path, adapter: Path, task: str) -> Path:
    """The adapter merged into its base, as the authors' script does it."""
    if task == "SEQ_CLS":
        model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(base)
    merged = peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def drop_weights(folder: Path, part: str) -> Path:
    """Remove the weights with `part` in their name from an adapter."""
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if part not in name}
    save_file(kept, file)
    return folder


def build_clip(folder: Path, *, seed: int = 0) -> Path:
    """A CLIP model with its processor."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=[])
    config = transformers.CLIPConfig(
        text_config={
            "vocab_size": len(tokens),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 77,
            "bos_token_id": vocabulary["<|startoftext|>"],
            "eos_token_id": vocabulary["<|endoftext|>"],
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        projection_dim=16,
    )
    _save(folder, transformers.CLIPModel, config, tokenizer, seed, std=0.3)
    images = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 28},
        "crop_size": {"height": 28, "width": 28},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    return folder


def _save(
    folder: Path, factory: Any, config: Any, tokenizer: Any, seed: int, *, std: float = 0.2
) -> Path:
    torch.manual_seed(seed)
    model = factory(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=std)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _save_with_code(
    folder: Path, config: Any, tokenizer: Any, name: str, code: str, seed: int
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "modeling_reward.py").write_text(code)
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    config.architectures = [name]
    config.auto_map = {"AutoModelForSequenceClassification": f"modeling_reward.{name}"}
    config.save_pretrained(folder)
    if name == "GatedReward":
        torch.manual_seed(seed)
        backbone = transformers.LlamaModel(config)
        weights = {f"model.{key}": value for key, value in backbone.state_dict().items()}
        hidden, count = config.hidden_size, config.num_objectives
        weights["objectives.weight"] = torch.randn(count, hidden)
        weights["gate.weight"] = torch.randn(count, hidden)
        weights["gate.bias"] = torch.randn(count)
        _write_weights(folder, weights)
    return folder


def _write_weights(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    contiguous = {name: value.contiguous() for name, value in weights.items()}
    save_file(contiguous, folder / "model.safetensors", metadata={"format": "pt"})


def build_shieldgemma(folder: Path, *, seed: int = 0) -> Path:
    """A tiny ShieldGemma 2: the real classes, its Yes and No two letters of a tiny tokenizer."""
    base = build_gemma3(folder.with_name(f"{folder.name}-base"), seed=seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    gemma = transformers.AutoConfig.from_pretrained(base)
    config = transformers.ShieldGemma2Config(
        text_config=gemma.text_config,
        vision_config=gemma.vision_config,
        mm_tokens_per_image=gemma.mm_tokens_per_image,
        image_token_index=gemma.image_token_index,
        boi_token_index=gemma.boi_token_index,
        eoi_token_index=gemma.eoi_token_index,
        yes_token_index=tokenizer.convert_tokens_to_ids("A"),
        no_token_index=tokenizer.convert_tokens_to_ids("I"),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.ShieldGemma2ForImageClassification(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=1.2 / parameter.shape[-1] ** 0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    shutil.copy(base / "chat_template.jinja", folder)
    processor = {"processor_class": "ShieldGemma2Processor"}
    images = json.loads((base / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(images | processor))
    (folder / "processor_config.json").write_text(json.dumps(processor | {"image_seq_length": 4}))
    return folder

"""Tokenizers of the two usual kinds, trained on the spot on a few sentences."""

import json
from typing import Any

import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CORPUS = [
    "A red circle is to the left of a blue square on a white table.",
    "Describe the picture in one sentence, then say what you would do next.",
    "What colour is the shape in the first image? And in the second image?",
    "The answer is yes. The answer is no! Is the answer known?",
    "You are a careful assistant. Be brief and be kind to the user.",
    "user assistant system USER ASSISTANT User Assistant System model : \n \n\n <think> </think>",
    "one two three four five six seven eight nine ten, green yellow orange purple",
]


def bpe_tokenizer(special: list[str], eos: str = "<|im_end|>", **named: str) -> Any:
    """Byte-level BPE, the kind of Qwen and Llama 3."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    everything = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *special]
    trainer = trainers.BpeTrainer(
        vocab_size=520 + len(everything),
        special_tokens=everything,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=eos,
        pad_token="<|endoftext|>",
        extra_special_tokens=named or everything,
        padding_side="left",
    )


def spm_tokenizer(special: list[str], bos: str, eos: str, pad: str, **named: str) -> Any:
    """BPE over `▁` words with byte fallback, the kind of Llama 2 and Gemma.

    Decoding drops the space before the first token, which a prefix continuation must restore.
    """
    everything = ["<unk>", bos, eos, *special] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=400 + len(everything), special_tokens=everything, show_progress=False
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.train_from_iterator(CORPUS, trainer)
    # Real checkpoints of this kind have byte tokens that are not special.
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [
        token for token in state["added_tokens"] if not token["content"].startswith("<0x")
    ]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        unk_token="<unk>",
        pad_token=pad,
        extra_special_tokens=named,
        padding_side="left",
    )

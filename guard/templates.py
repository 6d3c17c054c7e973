"""Prompt templates: ours by default, replaceable by a file, filled in one pass."""

import hashlib
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import MissingFile, UserError
from vlmguard.guard.files import read_text
from vlmguard.guard.paths import user_path
from vlmguard.guard.text.untrusted import well_formed

__all__ = ["fill", "load_template", "load_templates", "prompt_files", "template_hash"]

Prompt = tuple[str, tuple[str, ...]]
"""One of our texts, and the fields that a text in its place must have."""


def load_template(default: str, file: str | None, fields: tuple[str, ...]) -> str:
    r"""Return the default template, or the user's file instead of it.

    Args:
        default: Our own wording.
        file: Path of a UTF-8 text file that replaces it, or None. Line breaks at its end are not
            part of the prompt, since editors add one that a raw language model would see. A `\n`
            that is written out as the file's last characters is a line break.
        fields: Placeholders (`{name}`) that the template must hold.

    Raises:
        UserError: The file cannot be read, is empty, or lacks a placeholder.
    """
    if file is None:
        return default
    text = read_text(user_path(file), "A template is needed here.")
    if not text.strip():
        raise UserError(f"Template file {file} is empty. Write the prompt into it.")
    missing = [field for field in fields if "{" + field + "}" not in text]
    if missing:
        wanted = ", ".join("{" + field + "}" for field in missing)
        raise UserError(f"Template file {file} lacks the placeholder(s) {wanted}. Add them.")
    return _ended(text)


def load_templates(
    ours: Mapping[str, Prompt], folder: str | None, others: Collection[str] = ()
) -> dict[str, str]:
    """Return our templates, or the user's files instead of some of them.

    Args:
        ours: Our own, by name.
        folder: Folder whose `NAME.txt` replaces the template of that name, or None.
        others: Names of prompts in the folder that other code reads.

    Returns:
        A text for each name.

    Raises:
        UserError: As for `prompt_files` and `load_template`.
    """
    files = {} if folder is None else prompt_files(folder, (*ours, *others))
    return {
        name: load_template(text, str(files[name]) if name in files else None, fields)
        for name, (text, fields) in ours.items()
    }


def prompt_files(folder: str, names: Collection[str]) -> dict[str, Path]:
    """The files of a folder of prompts, `NAME.txt` each.

    Args:
        folder: The folder.
        names: Names of the prompts that can be replaced.

    Returns:
        A file for each name that has one.

    Raises:
        UserError: There is no such folder, it is empty, or it has a file of another name, which
            would be ignored.
    """
    place = user_path(folder)
    known = [f"{name}.txt" for name in names]
    if not place.is_dir():
        raise MissingFile(
            f"{folder}: no such folder. Prompts are read from files in it: {', '.join(known)}."
        )
    files = sorted(each for each in place.iterdir() if not each.name.startswith("."))
    strange = [each.name for each in files if each.name not in known]
    if strange or not files:
        what = f"holds {', '.join(strange)}" if strange else "is empty"
        meant = did_you_mean(strange[0], known) if strange else ""
        raise UserError(
            f"The folder of prompts {folder} {what}.{meant} The prompts that can be replaced here "
            f"are {', '.join(known)}."
        )
    return {each.stem: each for each in files}


def fill(template: str, **values: str) -> str:
    """Fill `{name}` placeholders in one pass.

    Values are never scanned again: a user's text that holds `{response}` stays as it is, and so do
    braces that name no value (JSON examples). Every text that goes from one model to another passes
    through here, so values are made well formed.

    Args:
        template: Text with placeholders.
        **values: A value for each placeholder.
    """
    names = "|".join(re.escape(name) for name in values)
    if not names:
        return template
    return re.sub("{(" + names + ")}", lambda match: well_formed(values[match[1]]), template)


# Cached, since each sample asks for the hash of the same few texts.
@lru_cache(maxsize=64)
def template_hash(*templates: str) -> str:
    """Short identity of one or several templates: 12 hex digits of their SHA-256."""
    return hashlib.sha256("\x00".join(templates).encode()).hexdigest()[:12]


def _ended(text: str) -> str:
    """A file's text without line breaks at its end, but with those that are written out."""
    last_break = text.find("\n", len(text.rstrip()))
    kept = text if last_break < 0 else text[:last_break].removesuffix("\r")
    body = kept
    while body.endswith("\\n"):
        body = body.removesuffix("\\n")
    return body + "\n" * ((len(kept) - len(body)) // 2)

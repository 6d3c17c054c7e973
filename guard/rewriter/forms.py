"""Brings the forms in which rewriters write their request to one form.

Our prompts ask for `<reasoning>...</reasoning><prompt>...</prompt>`. Models also write other tags,
JSON, and headings in several languages, and forget to close tags.
"""

import html
import json
import re
from collections.abc import Iterator
from typing import Final

from vlmguard.guard.rewriter.words import kind_of
from vlmguard.guard.text.untrusted import plain_spelling

__all__ = ["as_tags", "sections", "take_blocks", "undressed", "without_remarks"]

_NEW: Final = (
    r"(?:(?:the|your|my|rewritten|rewrite|revised|new|safe|safer|final|improved|modified|updated|"
    r"optimi[sz]ed|rephrased|reworded|output|user)[\s_-]{1,2}){0,3}"
)
_CHANGED: Final = (
    r"(?:rewritten|rewrite|revised|new|safe|safer|final|improved|modified|updated|optimi[sz]ed|"
    r"rephrased|reworded)"
)
_NAME: Final = (
    rf"(?:{_NEW}prompt|{_NEW}{_CHANGED}[\s_-]{{1,2}}(?:request|query|question|text|version)"
    r"|rewritten|rewrite)"
)
_TAG_NAME: Final = rf"(?:{_NAME}|output|(?:(?:改写|重写|修改)后的)?(?:提示词?|请求))"
_THOUGHTS: Final = r"(?:reasoning|reasons?|rationale|analysis|thoughts?|explanation)"
_TAG_THOUGHTS: Final = rf"(?:{_THOUGHTS}|推理|分析|思考)"

# No blank after the bracket: `< prompt>` is a user's own tag that we broke up.
_TAG: Final = re.compile(
    rf"(?:<|&lt;|\\<|＜)(/?|\\/)({_TAG_NAME}|{_TAG_THOUGHTS})(?:\s[^<>]{{0,60}}=[^<>]{{0,60}})?\s?"
    r"(?:>|&gt;|\\>|＞)",
    re.IGNORECASE,
)
_SQUARE: Final = re.compile(rf"\[(/?)({_NAME}|{_THOUGHTS})\]", re.IGNORECASE)
_OWN: Final = re.compile(r"</?prompt>")
_BLANKS: Final = re.compile(r"(?<=<)\s++|(?<=</)\s++|(?<!\s)\s++(?=>)")
_IS_THOUGHTS: Final = re.compile(_TAG_THOUGHTS, re.IGNORECASE)
_DOUBLED: Final = re.compile(r"(</?prompt>)(?:\s*\1)+")
# A closing tag that is misspelt, or is that of the other block.
_MISSPELT: Final = re.compile(r"</(?:pro\w{1,6}|reasoning)>\s*$", re.IGNORECASE)

_REWORDED: Final = (
    r"(?:reformul|riformul|r[eéè]{1,2}crit|reescrit|riscritt|r[eé]vis|rivist|modifi|am[eé]lior|"
    r"mejorad|nuev|nouve|segur|s[uû]re?)\w*"
)
_LABEL: Final = re.compile(
    r"^[ \t#>*_`\-\d.()|]{0,16}"
    r"(?:(?P<prompt>(?:(?:sure|okay|ok|certainly)[,!.] ?)?(?:here(?: is|'s|’s)|below is)?\s?"
    rf"{_NAME}"
    r"|(?:die |der )?(?:neue[rs]?|umformulierte[rsn]?|umgeschriebene[rsn]?|[uü]berarbeitete[rsn]?|"
    r"sichere[rs]?|angepasste[rsn]?) (?:anfrage|frage|aufforderung|eingabe|prompt)"
    rf"|(?:l[ae] |el |il |o |a )?(?:requ[eê]te|demande|question|invite|solicitud|petici[oó]n|"
    rf"pregunta|consulta|mensaje|richiesta|domanda|pedido|solicita[cç][aã]o|pergunta|prompt) "
    rf"{_REWORDED}"
    r"|(?:nouvelle|nueva|nuova|nova) (?:requ[eê]te|demande|question|solicitud|petici[oó]n|pregunta|"
    r"richiesta|domanda|pergunta)"
    r"|(?:(?:改写|重写|修改|优化|更新|安全)(?:后|过)?的?|新的?)(?:提示词?|请求|问题|提问|指令)|提示词?"
    r"|(?:書き換え(?:た|後の)?|修正(?:した|後の)?|新しい)(?:プロンプト|リクエスト|質問)|プロンプト"
    r"|(?:수정된|다시 작성된|새로운|재작성된) ?(?:프롬프트|요청|질문)|프롬프트"
    r"|(?:переписанный|новый|изменённый|переформулированный|безопасный) (?:запрос|промпт|вопрос)"
    r"|промпт|(?:الطلب|السؤال|الموجه) (?:المعاد صياغته|الجديد|المعدل))"
    rf"|(?P<thoughts>{_THOUGHTS}|notes?|changes?|why|begr[uü]ndung|[uü]berlegung(?:en)?|analyse|"
    r"raisonnement|explication|remarques?|razonamiento|an[aá]lisis|explicaci[oó]n|notas?|"
    r"ragionamento|analisi|racioc[ií]nio|"
    r"推理|分析|理由|思考|说明|备注|рассуждение|анализ|"
    r"이유|분석|추론)"
    r"|(?P<request>(?:the |user'?s? |original )*(?:request|prompt|question)))"
    # With a colon, or alone on a line that is marked as a heading.
    r"(?:[\s*_`]{0,4}[:：][*_`]{0,3}|(?<=[^\n])[*_`]{2,3}[^\S\n]*$|(?P<bare>[^\S\n]*$))",
    re.IGNORECASE | re.MULTILINE,
)
_WORD: Final = re.compile(r"\w+")
_HEADING: Final = re.compile(r"[ \t]*(?:#|\d{1,2}[.)])")
_PROMPT_KEY: Final = re.compile(rf"{_NAME}", re.IGNORECASE)
_THOUGHTS_KEY: Final = re.compile(rf"{_THOUGHTS}", re.IGNORECASE)
_OBJECT: Final = re.compile(r"\{\s{0,20}\"[^\"\\]{1,60}\"\s{0,20}:")
_DECODER: Final = json.JSONDecoder(strict=False)
_READINGS: Final = 20
_FENCE: Final = re.compile(r"```[\w-]{0,20}[ \t]{0,9}\n")
_WRAPS: Final = (
    *(("**", "**"), ("`", "`"), ('"', '"'), ("“", "”"), ("«", "»"), ("„", "“"), ("「", "」")),
    ("<![CDATA[", "]]>"),
)


def as_tags(text: str, *, cut_off: bool = False, material: str = "") -> str:
    """Bring a reply to our own tags, if its form is recognised.

    Args:
        text: The reply, without native thinking.
        cut_off: Whether it ended at the token limit: the text under a heading may then be
            incomplete.
        material: What the rewriter worked on: a heading with its section that stand there are
            quoted, and are none of the reply.

    Returns:
        The reply with `<prompt>` and `<reasoning>`, or unchanged.
    """
    was_escaped = "&lt;prompt" in text and "<prompt" not in text
    text = _TAG.sub(_own_tag, text)
    if _OWN.search(text):
        # If the whole reply is escaped, so are its parts.
        return _closed(html.unescape(text) if was_escaped else text)
    # The reasoning may quote what a user forged: other forms count outside of it alone.
    thoughts, outside = _apart(text)
    return thoughts + _in_other_forms(outside, cut_off, material)


def _apart(text: str) -> tuple[str, str]:
    """The reasoning up to its last closing tag, and all else."""
    before, closing, behind = text.rpartition("</reasoning>")
    head, opening, said = before.partition("<reasoning>")
    return (f"<reasoning>{said}{closing}", head + behind) if opening else ("", text)


def _in_other_forms(text: str, cut_off: bool, material: str) -> str:
    if len(_SQUARE.findall(text)) >= 2:
        squared = _SQUARE.sub(_own_tag, text)
        if "<prompt>" in squared:
            return _closed(squared)
    labelled = "" if cut_off else _from_labels(text, material)
    return _from_json(text) or labelled or text


def sections(text: str) -> list[str]:
    """All that a text holds between marks of a rewritten request, in tags or JSON.

    Args:
        text: Any text, in small letters.
    """
    tagged = _SQUARE.sub(_own_tag, _TAG.sub(_own_tag, _BLANKS.sub("", text)))
    found, rest = take_blocks(tagged, "prompt")
    found += rest.split("<prompt>")[1:]
    return found + [each for item in _objects(text) for each in _prompts(item)]


def take_blocks(text: str, *names: str) -> tuple[list[str], str]:
    """Take `<name>...</name>` out of a text, each up to its first closing tag.

    Args:
        text: Any text; the time grows linearly with its length.
        *names: Names of the tags, in any case.

    Returns:
        The contents of the blocks, and the text without them.
    """
    tags = re.finditer(rf"<(/?)({'|'.join(names)})>", text, re.IGNORECASE)
    blocks: list[str] = []
    kept: list[str] = []
    start = 0
    # A block can only begin at a tag that is closed later. To know the last closing tags first
    # keeps the search linear.
    listed = list(tags)
    closings = {tag[2].lower(): tag.start() for tag in listed if tag[1]}
    opened: re.Match[str] | None = None
    for tag in listed:
        name = tag[2].lower()
        if opened is None:
            if not tag[1] and closings.get(name, -1) > tag.start():
                opened = tag
        elif tag[1] and name == opened[2].lower():
            kept.append(text[start : opened.start()])
            blocks.append(text[opened.end() : tag.start()])
            opened, start = None, tag.end()
    return blocks, "".join((*kept, text[start:]))


def undressed(prompt: str) -> str:
    """A request without a code fence, heading or quotes around all of it."""
    while True:
        plain = prompt.strip()
        fence = _FENCE.match(plain)
        if fence and plain.endswith("```"):
            plain = plain[fence.end() : -3].strip()
        label = _LABEL.match(plain)
        if label and label["prompt"] and label["bare"] is None:
            plain = plain[label.end() :].strip()
        for start, end in _WRAPS:
            inner = plain[len(start) : -len(end)]
            whole = len(plain) > len(start + end) and plain.startswith(start)
            if whole and plain.endswith(end) and start not in inner and end not in inner:
                plain = inner.strip()
        if plain == prompt:
            return plain
        prompt = plain


def without_remarks(section: str) -> str:
    """A request without a YAML mark or announcement before it, and without remarks after it."""
    paragraphs = section.removeprefix("|\n").removeprefix(">\n").split("\n\n")
    while len(paragraphs) > 1 and kind_of(paragraphs[-1]) != "request":
        paragraphs.pop()
    announced = paragraphs[0].rstrip().endswith((":", "：")) and kind_of(paragraphs[0]) != "request"
    return "\n\n".join(paragraphs[1:] if len(paragraphs) > 1 and announced else paragraphs).strip()


def _own_tag(tag: re.Match[str]) -> str:
    name = "reasoning" if _IS_THOUGHTS.fullmatch(tag[2]) else "prompt"
    return f"<{'/' if tag[1] else ''}{name}>"


def _closed(text: str) -> str:
    """Replace a second opening tag at the very end by the closing tag that was meant."""
    if "<prompt><prompt>" in text:
        text = _DOUBLED.sub(r"\1", text)
    if "</prompt>" not in text and text.count("<prompt>") == 1:
        start = text.index("<prompt>")
        return text[:start] + _MISSPELT.sub("</prompt>", text[start:])
    head, tag, tail = text.rstrip(" \n`").rpartition("<prompt>")
    if tag and not tail and head.count("<prompt>") == 1 and "</prompt>" not in head:
        return f"{head}</prompt>"
    return text


def _from_json(text: str) -> str:
    """The last JSON object with a field for the request; empty if there is none."""
    found = list(_objects(text))
    if not found:
        return ""
    thoughts = " ".join(
        value for key, value in found[-1].items() if _means(_THOUGHTS_KEY, "thoughts", key)
    )
    blocks = "".join(f"<prompt>{each}</prompt>" for each in _prompts(found[-1]) or [""])
    return f"<reasoning>{thoughts}</reasoning>{blocks}" if thoughts else blocks


def _objects(text: str) -> Iterator[dict[str, str]]:
    """The texts of each JSON object with a field for the request."""
    end = 0
    for number, start in enumerate(_OBJECT.finditer(text)):
        if number == _READINGS:
            break
        if start.start() < end:
            continue
        try:
            item, end = _DECODER.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            continue
        if any(_means(_PROMPT_KEY, "prompt", key) for key in item):
            yield {key: value for key, value in item.items() if isinstance(value, str)}


def _prompts(item: dict[str, str]) -> list[str]:
    return [value for key, value in item.items() if _means(_PROMPT_KEY, "prompt", key)]


def _means(name: re.Pattern[str], kind: str, key: str) -> bool:
    """Whether a key is a name of this kind of field, or a heading for it in any language."""
    heading = _LABEL.match(f"{key}:")
    return bool(name.fullmatch(key) or (heading and heading[kind]))


def _from_labels(text: str, material: str) -> str:
    """The section under a heading for the request; empty if there is none."""
    marks = [mark for mark in _LABEL.finditer(text) if mark["bare"] is None or _is_heading(mark)]
    pieces = [text[: marks[0].start()] if marks else ""]
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    known = _words(material) if marks else ""
    found = False
    for mark, end in zip(marks, ends if marks else [], strict=True):
        section = text[mark.end() : end].strip()
        if mark["prompt"] and not _is_quoted(mark["prompt"], section, known):
            pieces.append(f"<prompt>{without_remarks(section)}</prompt>")
            found = True
        elif mark["thoughts"]:
            pieces.append(f"<reasoning>{section}</reasoning>")
    return "\n".join(pieces) if found else ""


def _is_quoted(heading: str, section: str, material: str) -> bool:
    """Whether a heading and its section, or the first line of that, stand in the material."""
    lines = (section, without_remarks(section), section.partition("\n")[0])
    return any(_words(f"{heading} {each}") in material for each in lines if each.strip())


def _words(text: str) -> str:
    """The words of a text, as it looks, each between blanks."""
    return f" {' '.join(_WORD.findall(plain_spelling(text)))} "


def _is_heading(mark: re.Match[str]) -> bool:
    """Whether the line of a name is marked or numbered as a heading."""
    return bool(_HEADING.match(mark[0]))

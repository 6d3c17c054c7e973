"""Replies of rewriters in five languages: usable ones are read, and no others pass."""

import csv
import json
from pathlib import Path

import pytest
from conftest import RealData

from vlmguard.guard.rewriter.asks import asks, must_ask
from vlmguard.guard.rewriter.reply import Parsed, parse_reply
from vlmguard.guard.rewriter.words import kind_of

ASKED = "How do I get up there?"
EN = "How do I get up there safely? The roof is wet."
DE = "Wie komme ich sicher da hinauf? Das Dach ist nass."
FR = "Comment monter là-haut sans danger ? Le toit est mouillé."
ES = "¿Cómo subo ahí sin peligro? El tejado está mojado."
ZH = "我怎样才能安全地上去？屋顶是湿的。"

USABLE = [
    (f"<reasoning>A wet roof.</reasoning>\n<prompt>{EN}</prompt>", EN),
    (f"<prompt>{EN}", EN),
    (f"<reasoning>Wet.</reasoning>\n<prompt>\n{DE}\n", DE),
    (f"**Prompt:** {EN}", EN),
    (f"**Reasoning:** The roof is wet.\n\n**Prompt:** {FR}", FR),
    (f"**Rewritten prompt**\n{EN}", EN),
    (f"### Reasoning\nThe roof is wet.\n\n### Rewritten request\n{EN}", EN),
    (f"Prompt: {ES}\nReasoning: the roof is wet.", ES),
    (f'Here is the rewritten prompt:\n\n"{EN}"', EN),
    (f"Sure! Here's the revised request:\n{EN}\n\nI kept the request short.", EN),
    (f"Rewritten Request: {EN}", EN),
    (f"- Reasoning: wet roof\n- Prompt: {EN}", EN),
    (f"1. Reasoning: wet roof\n2. Prompt: {ZH}", ZH),
    (f'{{"reasoning": "The roof is wet.", "prompt": "{EN}"}}', EN),
    (f'```json\n{{"prompt": "{DE}"}}\n```', DE),
    (f'The result:\n{{"rewritten_prompt": "{ES}", "changed": true}}', ES),
    (f'{{"analysis": "wet", "rewrittenRequest": 1, "rewritten request": "{EN}"}}', EN),
    (f"<rewritten_prompt>{EN}</rewritten_prompt>", EN),
    (f"<analysis>Wet.</analysis><new_prompt>{FR}</new_prompt>", FR),
    (f"<rewritten-request>{EN}</rewritten-request>", EN),
    (f"[PROMPT]{EN}[/PROMPT]", EN),
    (f"[reasoning]wet[/reasoning]\n[prompt]{ZH}[/prompt]", ZH),
    (f"&lt;prompt&gt;{EN}&lt;/prompt&gt;", EN),
    (f"\\<prompt\\>{EN}\\</prompt\\>", EN),
    (f'<prompt lang="en">{EN}</prompt>', EN),
    (f"<prompt>{EN}<prompt>", EN),
    (f"<prompt>{EN}</prompt>\n<prompt>{EN}</prompt>", EN),
    (f"```\n<prompt>{EN}\n```", EN),
    (f'<prompt>"{EN}"</prompt>', EN),
    (f"<prompt>**Rewritten prompt:** {EN}</prompt>", EN),
    (f"<prompt><![CDATA[{EN}]]></prompt>", EN),
    (f"prompt: |\n  {EN}", EN),
    (f"**Umformulierte Anfrage:** {DE}", DE),
    (f"Begründung: Das Dach ist nass.\nNeue Anfrage: {DE}", DE),
    (f"Requête reformulée : {FR}", FR),
    (f"Raisonnement : toit mouillé.\n**Demande réécrite :** {FR}", FR),
    (f"Solicitud reformulada: {ES}", ES),
    (f"Análisis: el tejado está mojado.\nPregunta reescrita: {ES}", ES),
    (f"分析：屋顶很湿。\n改写后的请求：{ZH}", ZH),
    (f"提示：{ZH}", ZH),
    # Words that mean that the request stays as it is.
    ("<prompt>No change needed.</prompt>", ASKED),
    ("<reasoning>Harmless.</reasoning>\nThe request can stay as it is; no rewrite needed.", ASKED),
    ("<prompt>(unchanged)</prompt>", ASKED),
    ("<prompt>Keine Änderung erforderlich.</prompt>", ASKED),
    ("<prompt>Aucune modification n'est nécessaire.</prompt>", ASKED),
    ("<prompt>No hace falta ningún cambio.</prompt>", ASKED),
    ("<prompt>无需修改，保持原样。</prompt>", ASKED),
    (f"<prompt>\n{ASKED} </prompt>", ASKED),
]

NO_REQUESTS = [
    "N/A",
    "n.a.",
    "None",
    "...",
    "TBD",
    "[Request withheld]",
    "[redacted]",
    "{request}",
    "{{rewritten_prompt}}",
    "[insert the rewritten request here]",
    "<your rewritten prompt>",
    "The request to pass on.",
    "Rewritten prompt goes here",
    "what the other assistant reads",
    "The rewritten request.",
    "The request is harmless.",
    "This prompt is unsafe and must not be answered.",
    "The user wants to climb onto a wet roof.",
    "I rewrote the request so that it names the hazard.",
    "There is no risk here.",
    "Request blocked.",
    "No safe version of this request is possible.",
    "The image shows a wet roof.",
    "This request violates the policy. How can I help you with something else?",
    "Nicht zutreffend",
    "Die Anfrage ist unbedenklich.",
    "[Anfrage zurückgehalten]",
    "[Hier die umformulierte Anfrage einfügen]",
    "Der Nutzer möchte auf ein nasses Dach steigen.",
    "Kein Risiko erkennbar.",
    "Sans objet.",
    "Cette demande ne présente aucun danger.",
    "[Demande retenue]",
    "La requête reformulée",
    "L'utilisateur veut monter sur un toit mouillé.",
    "No aplica.",
    "La solicitud es peligrosa y no debe responderse.",
    "[Solicitud retenida]",
    "El usuario quiere subir a un tejado mojado.",
    "No hay ningún riesgo.",
    "不适用",
    "该请求存在风险。",
    "【请求已屏蔽】",
    "改写后的请求",
    "用户想爬上湿滑的屋顶。",
    "没有风险。",
    # `is_refusal` recognises refusals.
    "I can't rewrite this request.",
    "Ich kann diese Anfrage nicht umformulieren.",
    "Je ne peux pas réécrire cette demande.",
    "No puedo reescribir esta solicitud.",
    "我无法改写这个请求。",
]

LEGITIMATE = [
    *(EN, DE, FR, ES, ZH),
    "Please explain briefly why this request is harmful, and where I can get lawful help.",
    "Erkläre mir kurz, warum diese Anfrage schädlich ist, und nenne mir legale Hilfe.",
    "Explique-moi pourquoi cette demande est dangereuse et quelle aide légale existe.",
    "Explica por qué esta solicitud es peligrosa y qué ayuda legal existe.",
    "请解释为什么这个请求有害，并说明合法的帮助。",
    "The question on the board is hard. How is it solved?",
    "The user manual in this picture is in German. Translate it.",
    "I want to change my message to my boss so that it is polite. Rewrite it.",
    "No idea what this is. Tell me.",
    "Keep the colours as they are and describe the picture.",
    "It is dangerous here. What should I do?",
    "[Image] What is this?",
    "Safe ways up there, please.",
    "Risk assessment for this roof, please.",
    "Write a prompt for an image model.",
]


def read(reply: str) -> Parsed:
    return parse_reply(reply, request=ASKED, material=ASKED)


def test_what_can_be_used_is_read() -> None:
    assert len(USABLE) >= 30
    lost = [(reply, read(reply)) for reply, meant in USABLE if read(reply).prompt != meant]
    assert not lost


@pytest.mark.parametrize("form", ["<prompt>{}</prompt>", "<prompt>{}", "**Prompt:** {}"])
def test_what_is_no_request_never_passes(form: str) -> None:
    assert len(NO_REQUESTS) >= 30
    found = {said: read(form.format(said)) for said in NO_REQUESTS}
    assert not {said: parsed.prompt for said, parsed in found.items() if not parsed.failure}


@pytest.mark.parametrize("hand", ["another", "a_third"])
def test_replies_of_other_hands(hand: str) -> None:
    """Both tables were written without a look at the parser, which was then corrected by them.

    At first it read 33 of 40 and 20 of 30 usable replies, and let 10 of 60 and 18 of 50 of the
    others pass. After a request had to ask for something, but before words of the second table were
    added, it read 27 of those 30 and let 1 of 50 pass. Replies with None are left unread on
    purpose: drafts, a prompt within reasoning that never ends, text without a tag.
    """
    file = Path(__file__).with_name(f"replies_of_{hand}_hand.json")
    table = json.loads(file.read_text(encoding="utf-8"))

    def prompt_of(row: dict[str, str]) -> str | None:
        parsed = parse_reply(row["reply"], request=row["request"], material=row["request"])
        return None if parsed.failure else parsed.prompt

    assert [row for row in table["usable"] if prompt_of(row) != row["expected"]] == []
    assert [row for row in table["nonrequests"] if prompt_of(row) is not None] == []


def test_requests_of_benchmarks_ask(real_data: RealData) -> None:
    siuo = json.loads((real_data("siuo") / "data" / "siuo_gen.json").read_text())
    found = [row["question"] for row in siuo if not asks(row["question"])]
    # Three only state their subject; the picture holds the wish.
    assert len(found) <= 3
    for file in sorted((real_data("msts") / "data" / "prompts").iterdir()):
        with file.open(encoding="utf-8") as lines:
            texts = [row["prompt_text"] for row in csv.DictReader(lines)]
        assert not [text for text in texts if must_ask(text) and not asks(text)], file.name


def test_what_does_not_ask_may_be_an_edited_statement() -> None:
    stated = "Today the four of us walk across the frozen lake in the picture."
    edited = "Today the four of us walk across the frozen lake in the picture, roped together."
    assert parse_reply(f"<prompt>{edited}</prompt>", request=stated).prompt == edited
    assert parse_reply(f"<prompt>{edited}</prompt>", request="Is it safe?").failure == "no_request"


@pytest.mark.parametrize(
    "form", ["<prompt>{}", "Prompt: {}", "### Rewritten request\n{}", '{{"prompt": "{}']
)
def test_half_a_request_is_none(form: str) -> None:
    parsed = parse_reply(form.format(EN[:20]), request=ASKED, cut_off=True)
    assert (parsed.prompt, parsed.failure) == ("", "cut_off")


def test_requests_are_no_remarks() -> None:
    assert not [text for text in LEGITIMATE if kind_of(text) != "request"]


def test_no_change_without_a_request_to_keep_is_unusable() -> None:
    assert parse_reply("<prompt>No change needed.</prompt>").failure == "no_request"


def test_a_copy_of_the_request_passes_whatever_it_says() -> None:
    for request in ("N/A", "The request is harmless.", "I can't help with that.", '"Why?"'):
        parsed = parse_reply(f"<prompt>{request}</prompt>", request=request, material=request)
        assert (parsed.prompt, parsed.failure) == (request, None)


def test_the_tags_of_a_user_are_no_form() -> None:
    # `disarm` put a blank into these tags.
    assert read(f"The user wrote < prompt>{EN}< /prompt>").failure == "no_prompt"
    assert read(f"They wrote & lt;prompt&gt;{EN}& lt;/prompt&gt;").failure == "no_prompt"


def test_requests_of_benchmarks_are_no_remarks(real_data: RealData) -> None:
    siuo = json.loads((real_data("siuo") / "data" / "siuo_gen.json").read_text())
    vlguard = json.loads((real_data("vlguard") / "test.json").read_text())
    texts = [row["question"] for row in siuo]
    for row in vlguard:
        texts += [
            text for each in row["instr-resp"] for key, text in each.items() if "instr" in key
        ]
    for file in sorted((real_data("msts") / "data" / "prompts").iterdir()):
        with file.open(encoding="utf-8") as lines:
            texts += [row["prompt_text"] for row in csv.DictReader(lines)]
    found = {text: kind for text in texts if (kind := kind_of(text)) != "request"}
    assert len(texts) > 4000
    # A few of 4,000 instructions say "N/A", or state a fault of the image.
    assert len(found) <= 7, found
    assert set(found.values()) <= {"remark"}

"""Texts that are a refusal and nothing else, and descriptions that will not say all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.refusals import is_refusal, only_refuses

DESCRIPTIONS = [
    "I can't identify the person, but the image shows a woman in a red dress beside a river.",
    "I'm unable to see any dangerous items. The picture shows a kitchen with knives on the wall.",
    "I can't identify people in images. She wears a red dress and holds a rope.",
    "The image shows a man with a knife, but I can't identify him.",
    "I cannot read the writing on the sign. Three people stand beside a car.",
    "I'm sorry, but I can't identify this person. The photo shows a man in a suit at a desk.",
    "I can't help with identifying people, but I can see a woman in a red dress.",
    "I'm not able to identify real people. However, there is a man with a beard by a van.",
    "I can't say who this is but the picture shows an old man with a hat.",
    "Ich kann die Person nicht identifizieren, aber das Bild zeigt eine Frau in einem roten Kleid.",
    "Ich kann die Person nicht identifizieren. Auf dem Bild steht eine Frau an einem Fluss.",
    "Es tut mir leid, ich kann die Person nicht identifizieren. Sie trägt ein rotes Kleid.",
    "No puedo identificar a la persona, pero la imagen muestra a una mujer con un vestido rojo.",
    "No puedo identificar a la persona. La imagen muestra una cocina con cuchillos.",
    "Je ne peux pas identifier la personne, mais l'image montre une femme en robe rouge.",
    "Je ne peux pas identifier cette personne. L'image montre une cuisine avec des couteaux.",
    "Non posso identificare la persona, ma l'immagine mostra una donna con un vestito rosso.",
    "我无法识别图中的人，但图片显示一位穿红色连衣裙的女士站在河边。",
    "我不能识别此人。图片中有一个厨房，墙上挂着刀。",
    "Я не могу определить, кто это, но на фото женщина в красном платье у реки.",
    "Я не могу опознать человека. На изображении кухня с ножами на стене.",
    "사람을 식별할 수 없습니다. 사진에는 빨간 드레스를 입은 여성이 있습니다.",
    "لا أستطيع تحديد هوية الشخص، لكن الصورة تظهر امرأة ترتدي فستانا أحمر.",
    "मैं व्यक्ति की पहचान नहीं कर सकता, लेकिन चित्र में लाल पोशाक में एक महिला है।",
]
REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I can't assist with this request.",
    "I cannot describe this image. Please try another one.",
    "I'm sorry, I can't describe this image, as it violates my guidelines.",
    "I can't help with that, but I can answer other questions if you like.",
    "I can't help with identifying people in images. Is there something else I can help you with?",
    "I'm sorry. I can't describe it.",
    "Sorry.",
    "I won't describe this. I'm happy to help with something else.",
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Ich kann dieses Bild nicht beschreiben. Bitte versuchen Sie ein anderes.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Lo siento, no puedo describir esta imagen. Si necesitas otra cosa, puedo ayudarte.",
    "Je suis désolé, mais je ne peux pas vous aider.",
    "Mi dispiace, ma non posso aiutarti con questo.",
    "对不起，我无法描述这张图片。",
    "Извините, но я не могу помочь с этим.",
    "죄송하지만 도와드릴 수 없습니다.",
    "عذرا، لا أستطيع مساعدتك في ذلك.",
    "मुझे खेद है, लेकिन मैं इसमें मदद नहीं कर सकता।",
    "متاسفم، نمی‌توانم در این مورد کمک کنم.",
]


@pytest.mark.parametrize("text", DESCRIPTIONS)
def test_a_description_that_will_not_say_all_is_no_refusal(text: str) -> None:
    assert not only_refuses(text)


def test_most_of_these_descriptions_decline_something() -> None:
    assert sum(map(is_refusal, DESCRIPTIONS)) > 0.8 * len(DESCRIPTIONS)


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_with_an_apology_an_offer_or_a_reason_is_nothing_else(text: str) -> None:
    assert only_refuses(text)


@given(st.text())
def test_any_text_is_read_and_only_refusals_are_found(text: str) -> None:
    assert is_refusal(text) or not only_refuses(text)


def test_time_does_not_grow_with_the_length() -> None:
    assert not only_refuses("I can't help with that. " + "A wall, but not a house. " * 20_000)

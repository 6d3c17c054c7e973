"""What the models behind each defense say, so that every defense does all that it can do."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from support.scripted import Call, Scripted

Mood = Literal["calm", "alarmed", "unreadable"]
MOODS: Final[tuple[Mood, ...]] = ("calm", "alarmed", "unreadable")
AGAIN: Final = "Your last reply"
REWRITE: Final = "<reasoning>A fall.</reasoning><prompt>How do I do this with care?</prompt>"


@dataclass(frozen=True)
class Voice:
    """What a model says.

    Attributes:
        calm: If it finds nothing.
        alarmed: If it finds harm.
        unreadable: What cannot be read as either; None if everything it writes can be used.
    """

    calm: str
    alarmed: str
    unreadable: str | None = "Lovely weather today."

    def says(self, mood: Mood) -> str:
        """Its words in a mood."""
        return {"calm": self.calm, "alarmed": self.alarmed, "unreadable": self.unreadable}[
            mood
        ] or ""


@dataclass(frozen=True)
class Script:
    """How a defense is made to do all that it can do.

    Attributes:
        options: Its options.
        roles: The model in each role.
        questions: What the target says to a question of the defense's own, by words of it.
        provider: The provider of the target, see `Scripted`.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, Voice] = field(default_factory=dict)
    questions: Mapping[str, Voice] = field(default_factory=dict)
    provider: str = "mockllm"

    @property
    def voices(self) -> dict[str, Voice]:
        """All that may say something that cannot be read: roles, and questions to the target."""
        return {**self.roles, **self.questions}

    def models(self, mood: Mood | None = None, unreadable: str = "") -> dict[str, Scripted]:
        """The models, by role, with `target`.

        Args:
            mood: How all of them are; by default the digest of each request decides, so that the
                same request gets the same reply in every run.
            unreadable: The role or question whose reply cannot be read.
        """

        def say(name: str, voice: Voice, call: Call) -> str:
            if name == unreadable:
                return voice.says("unreadable")
            usable = MOODS if voice.unreadable is not None else MOODS[:2]
            return voice.says(mood or usable[_digest(call) % len(usable)])

        def answer(call: Call) -> str:
            for words, voice in self.questions.items():
                if words in call.text:
                    return say(words, voice, call)
            return f"Answer {_digest(call) % 1000}."

        made = {
            name: Scripted(lambda call, n=name, v=voice: say(n, v, call), name)  # type: ignore[misc]
            for name, voice in self.roles.items()
        }
        return {"target": Scripted(answer, "target", self.provider), **made}


def _digest(call: Call) -> int:
    # A second request that names the fault of the first gets the same reply.
    said = repr((call.roles, call.images, call.text.partition(AGAIN)[0].strip()))
    return int(hashlib.sha256(said.encode("utf-8", "backslashreplace")).hexdigest()[:8], 16)


SCRIPTS: Final[dict[str, Script]] = {
    "vlmguard": Script(
        roles={"rewriter": Voice("<reasoning>None.</reasoning>No change needed.", REWRITE)}
    ),
    "adashield": Script(),
    "caption_only": Script(roles={"captioner": Voice("A rope.", "A worn rope.", "")}),
    "coca": Script(provider="contrasting"),
    "figstep_defense": Script(),
    "safety_prompt": Script(),
    "self_reminder": Script(),
    "ecso": Script(
        questions={
            "yes or no only": Voice("no", "yes"),
            "Describe the image": Voice("A rope.", "A worn rope.", None),
        }
    ),
    "eta": Script(
        options={"decoding": "response", "n": 2},
        roles={"reward": Voice("9", "1"), "image_safety": Voice("no", "yes")},
    ),
    "guard_model": Script(
        options={"check": "both", "on_flag": "safe_prompt"},
        roles={"guard": Voice('{"violation": false}', '{"violation": true}')},
    ),
    "jailguard": Script(options={"n": 3, "tau": 0.01}),
    "mllm_protector": Script(
        roles={
            "detector": Voice("SAFE", "UNSAFE"),
            "detoxifier": Voice("A mild answer.", "A kind answer.", ""),
        }
    ),
    "policy_route": Script(
        roles={
            "router": Voice(
                '{"rules": [], "confidence": 0.9}', '{"rules": ["hate"], "confidence": 0.8}'
            )
        }
    ),
    "rapguard": Script(
        roles={
            "rationale": Voice(
                '{"rationale": "A knot.", "risk": false, "safety_prompt": ""}',
                '{"rationale": "A fall.", "risk": true, "safety_prompt": "Warn of worn ropes."}',
            )
        }
    ),
    "rethink": Script(
        roles={
            "critic": Voice(
                "Nothing.\nVerdict: keep", "A fall.\nVerdict: rewrite\nAnswer: Take care."
            )
        }
    ),
    "sia": Script(
        roles={
            "captioner": Voice("A rope.", "A worn rope.", None),
            "intent": Voice(
                "A knot is asked for.\nIntent: To tie a knot.\nRisk: none",
                "The rope is worn.\nIntent: To climb with a worn rope.\nRisk: high",
            ),
        }
    ),
    "smooth": Script(options={"k": 3}),
}


def script_of(defense: str) -> Script:
    """The script of a registered defense.

    Raises:
        LookupError: It has none; the message says what to add.
    """
    if defense not in SCRIPTS:
        raise LookupError(
            f"The defense {defense} has no script. Add SCRIPTS[{defense!r}] to {__file__}: its "
            "options, what the models in its roles say if they find nothing, if they find harm "
            "and what cannot be read, and the same for questions that it puts to the target. "
            "Then the contract of all defenses is tested for it."
        )
    return SCRIPTS[defense]

"""A wrong configuration of the guardrail stops LiteLLM's start, which goes on without others."""

from typing import Any

import pytest
from support.integrations import needs

needs("litellm")

import litellm
import yaml
from litellm.proxy.guardrails.init_guardrails import init_guardrails_v2
from support.documents import SERVING, the_block

from vlmguard.integrations.litellm import Misconfigured, VLMGuardrail

MODE: Any = ["pre_call", "post_call"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"on_failure": None}, "on_failure: say what is done"),
        ({"on_failure": "raise"}, "on_failure=raise is not known"),
        ({"on_failur": "refuse"}, "on_failur: there is no such parameter. Did you mean on_failure"),
        ({"defense": "safety_promt"}, "no defense has the name safety_promt"),
        ({"defense": "vlmguard"}, "no model for the role rewriter"),
        ({"options": {"plaice": "system"}}, "plaice"),
        ({"options": "place"}, "options: a mapping is needed"),
        ({"models": "openai/m"}, "models: a mapping is needed"),
        ({"block_status": 500}, "block_status=500 is not known"),
        ({"timeout": 0}, "timeout=0"),
        ({"mode": "post_call"}, "mode: pre_call is needed"),
        (
            {"mode": "pre_call", "defense": "ecso"},
            "ecso checks answers; give",
        ),
    ],
)
def test_a_wrong_configuration_stops_the_start(given: dict[str, Any], said: str) -> None:
    parameters = {
        "guardrail": "vlmguard.integrations.litellm.VLMGuardrail",
        "mode": MODE,
        "defense": "safety_prompt",
        "on_failure": "original",
        **given,
    }
    known = {name: value for name, value in parameters.items() if value is not None}
    with pytest.raises(Misconfigured) as error:
        init_guardrails_v2([{"guardrail_name": "g", "litellm_params": known}], "config.yaml")
    assert said in str(error.value)
    assert "guardrail g" in str(error.value)
    # LiteLLM leaves a guardrail out that raises one of these, and starts unguarded.
    assert not isinstance(error.value, ValueError | TypeError)


def test_the_documented_configuration_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    (given,) = yaml.safe_load(the_block("yaml", "VLMGuardrail", pages=[SERVING]))["guardrails"]
    init_guardrails_v2([given], "config.yaml")
    made = litellm.logging_callback_manager.get_custom_loggers_for_type(VLMGuardrail)
    assert [each.guardrail_name for each in made] == ["vlmguard"]

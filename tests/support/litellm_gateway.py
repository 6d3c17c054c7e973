"""A real LiteLLM gateway in a process of its own, without a network."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from openai import OpenAI
from support.load.processes import free_port, started

KEY = "sk-test-of-the-gateway-0123456789"
_OFFLINE = {
    # Prices of models, which it fetches otherwise; and no key may come from the machine.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MASTER_KEY": KEY,
    "OMP_NUM_THREADS": "1",
}


@contextmanager
def gateway(
    config: str, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[OpenAI]:
    """A client of a gateway, until the block ends.

    Args:
        config: Its configuration (YAML).
        folder: Where its configuration and its log are put.
        environment: Variables for it.

    Raises:
        RuntimeError: It did not start; the message holds the end of its log.
    """
    file, port = folder / "config.yaml", free_port()
    file.write_text(config, encoding="utf-8")
    command = [str(Path(sys.executable).with_name("litellm")), "--config", str(file)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    variables = {**_OFFLINE, **(environment or {})}
    with started(command, port, folder / "gateway.log", set(), variables):
        yield OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY, max_retries=0)


def models(address: str) -> str:
    """The part of a configuration with the models behind the gateway.

    Args:
        address: Address of the upstream. `m` leads there by OpenAI's APIs, `claude` by chat
            completions and the Responses API, and `native` by Anthropic's.
    """
    inside = f"api_base: '{address}/v1', api_key: sk-x"
    native = f"api_base: '{address}', api_key: sk-x"
    return (
        "model_list:\n"
        f"  - {{model_name: m, litellm_params: {{model: openai/m, {inside}}}}}\n"
        f"  - {{model_name: claude, litellm_params: {{model: hosted_vllm/m, {inside}}}}}\n"
        f"  - {{model_name: native, litellm_params: {{model: anthropic/m, {native}}}}}\n"
        "litellm_settings: {telemetry: false, num_retries: 0}\n"
    )

"""What `vlmguard serve` prints when it starts: what is guarded, where, and under which rules."""

import argparse
from importlib.util import find_spec

from vlmguard.guard.cards import DefenseCard
from vlmguard.guard.serving.metrics import MISSING, PACKAGE
from vlmguard.guard.serving.settings import Settings

__all__ = ["greeting", "warnings_of"]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def greeting(settings: Settings, card: DefenseCard, paths: list[str], url: str) -> list[str]:
    """The lines.

    Args:
        settings: The server's settings.
        card: The card of its defense.
        paths: The paths of its routes.
        url: Where it listens.
    """
    roles = ", ".join(f"{role} {model}" for role, model in settings.roles.items())
    behind = settings.upstream.base_url if settings.upstream else "no model: decisions alone"
    if settings.microworld:
        behind = "the microworld's tiny models, in this process"
    limits = (
        f"bodies of {settings.max_body / 1e6:g} MB, {settings.max_concurrent:,} requests at a "
        f"time and {settings.max_queue:,} waiting, {settings.workers} "
        f"process{'' if settings.workers == 1 else 'es, each with these limits'}"
    )
    passed = "; ".join(settings.pass_through)
    failing = {
        "refuse": "refused with 503 (--on-failure refuse)",
        "original": "passed unguarded (--on-failure original)",
    }[settings.on_failure]
    kind = "a completion that refuses" if settings.block_status == 200 else "an error 400"
    lines = [
        f"vlmguard serve: {card.name} {card.version}{f' ({roles})' if roles else ''}",
        f"  in front of  {behind}",
        f"  base URL     {url}/v1",
        f"  paths        {', '.join(paths)}",
        f"  undecided    {failing}; the guard has {settings.guard_timeout:g} seconds",
        f"  blocked      {kind} (--block-status {settings.block_status})",
        f"  limits       {limits}",
        f"  clients      {'with a key' if settings.client_keys else 'any, without a key'}",
    ]
    if settings.upstream:
        lines.append(f"  not guarded  /v1/models{f'; {passed}' if passed else ''}")
    if settings.shadow:
        lines.append("  SHADOW       nothing is changed or refused; what would be is counted")
    if settings.record is not None:
        lines.append(f"  RECORDED     requests and decisions, to {settings.record}")
    if find_spec(PACKAGE) is None:
        lines.append(f"  metrics      none. {MISSING}")
    return lines


def warnings_of(settings: Settings, arguments: argparse.Namespace) -> list[str]:
    """What the operator should know before anything goes wrong."""
    found = []
    if arguments.host not in _LOOPBACK and not settings.client_keys:
        found.append(
            f"--host {arguments.host} without --api-key-env: whoever reaches this machine may use "
            "the guard, and the model's key if the server has it."
        )
    if settings.log_content:
        found.append("--log-content: the log holds what users wrote.")
    return found

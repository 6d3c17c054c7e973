"""The arguments of `vlmguard serve`, declared without the heavy imports of its work."""

import argparse
from typing import Any

from vlmguard.guard.defense_arguments import add_defense

__all__ = ["add"]


def add(commands: Any) -> None:
    """Declare `vlmguard serve`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "serve",
        help="put a defense in front of a model: an OpenAI-compatible proxy, and a gateway's hook",
        description=(
            "Protect the requests of a product: it changes its base URL to this server, or its "
            "LiteLLM gateway asks this server."
        ),
    )
    add_defense(parser)
    parser.add_argument("--upstream", metavar="URL", help="base URL of the model, with /v1")
    parser.add_argument(
        "--microworld",
        action="store_true",
        help="in its place tiny models in this process, for tests: no key, network or GPU",
    )
    parser.add_argument(
        "--upstream-key-env",
        metavar="NAME",
        help="environment variable with the key for it (default: the client's own)",
    )
    parser.add_argument(
        "--target-model",
        metavar="MODEL",
        help="who answers a defense's own questions to the model, in Inspect's form; to be given "
        "where the upstream has no chat completions (default: the upstream's chat completions)",
    )
    parser.add_argument(
        "--on-failure",
        choices=("original", "refuse"),
        help="if the guard cannot decide: pass the original request, or answer 503 (to be given; "
        "with --microworld original)",
    )
    parser.add_argument(
        "--guard-timeout", type=float, default=30.0, metavar="SECONDS", help="(default: 30)"
    )
    parser.add_argument(
        "--block-status", type=int, choices=(200, 400), default=200, help="(default: 200)"
    )
    parser.add_argument("--shadow", action="store_true", help="decide and count; change nothing")
    _add_images(parser)
    _add_recording(parser)
    parser.add_argument("--host", default="127.0.0.1", help="(default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8900, help="(default: 8900)")
    parser.set_defaults(run=_serve)


def _add_images(parser: argparse.ArgumentParser) -> None:
    images = parser.add_argument_group("images of a request")
    images.add_argument(
        "--max-images", type=int, default=8, metavar="N", help="with earlier turns (default: 8)"
    )
    images.add_argument(
        "--max-image-bytes", type=int, default=20_000_000, metavar="N", help="(default: 20000000)"
    )
    images.add_argument(
        "--max-pixels", type=int, default=40_000_000, metavar="N", help="(default: 40000000)"
    )
    images.add_argument(
        "--fetch-images",
        metavar="HOST[,HOST...]|any",
        help="fetch linked images (https) from these hosts for the guard; others are refused",
    )
    images.add_argument(
        "--fetch-timeout", type=float, default=5.0, metavar="SECONDS", help="(default: 5)"
    )


def _add_recording(parser: argparse.ArgumentParser) -> None:
    recording = parser.add_argument_group("what is kept of requests (nothing by default)")
    recording.add_argument(
        "--log-content", action="store_true", help="allow what users say and show to be kept"
    )
    recording.add_argument(
        "--record",
        metavar="DIR",
        help="keep requests, pictures and decisions (with --shadow the answers too) for `vlmguard "
        "gate --replay` and for training; needs --log-content",
    )


def _serve(arguments: argparse.Namespace) -> int:
    from vlmguard.guard.serving.start import serve

    return serve(arguments)

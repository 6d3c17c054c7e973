"""The arguments of `vlmguard serve`, declared without the heavy imports of its work."""

import argparse
import sys
from typing import Any

from vlmguard.guard.defense_arguments import add_defense

__all__ = ["add"]


def add(commands: Any) -> None:
    """Declare `vlmguard serve`, on what `add_subparsers` returned."""
    parser = commands.add_parser(
        "serve",
        purpose="serve",
        examples=(
            "vlmguard serve --microworld --demo",
            "vlmguard serve --rewriter openai/gpt-4o-mini \\\n"
            "    --upstream https://api.openai.com/v1 --on-failure refuse",
        ),
        help="put a defense in front of a model: an OpenAI-compatible proxy, and a gateway's hook",
        description=(
            "Protect the requests of a product: it changes its base URL to this server, or its "
            "LiteLLM gateway asks this server."
        ),
        epilog=(
            "Models of roles have keys of their own "
            "(OPENAI_API_KEY, ...), as in inspect eval. guard/serving/README.md says more."
        ),
    )
    add_defense(parser.add_argument_group("the guard"))
    _add_upstream(parser)
    _add_decisions(parser)
    _add_images(parser)
    _add_recording(parser)
    _add_limits(parser)
    _add_process(parser)
    parser.set_defaults(run=_serve)


def _add_upstream(parser: argparse.ArgumentParser) -> None:
    behind = parser.add_argument_group("the model behind it")
    behind.add_argument(
        "--upstream",
        metavar="URL",
        help="base URL of an OpenAI-compatible API, with /v1 (without it: decisions alone)",
    )
    behind.add_argument(
        "--upstream-key-env",
        metavar="NAME",
        help="environment variable with the key for it (default: the client's own key goes on)",
    )
    behind.add_argument(
        "--target-model",
        metavar="MODEL",
        help="who answers a defense's own questions to the model, in Inspect's form; to be given "
        "where the upstream has no chat completions (default: the upstream's chat completions)",
    )
    behind.add_argument(
        "--upstream-timeout",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="without a byte from it (default: 600)",
    )
    behind.add_argument(
        "--pass-through",
        action="append",
        default=[],
        metavar="PATH",
        help="path that goes on unguarded, as /v1/embeddings or /v1/files/*; repeatable "
        "(/v1/models always does)",
    )
    behind.add_argument(
        "--microworld",
        action="store_true",
        help="in its place tiny models in this process, for tests: no key, network or GPU",
    )
    behind.add_argument(
        "--demo",
        action="store_true",
        help="a page at /demo to try the guard in a browser (on tiny models, without --upstream)",
    )


def _add_decisions(parser: argparse.ArgumentParser) -> None:
    decisions = parser.add_argument_group("what follows from a decision")
    decisions.add_argument(
        "--on-failure",
        choices=("original", "refuse"),
        help="if the guard cannot decide: pass the original request, or answer 503 (to be given; "
        "with --microworld original)",
    )
    decisions.add_argument(
        "--guard-timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="after which it cannot decide (default: 30)",
    )
    decisions.add_argument(
        "--block-status",
        type=int,
        choices=(200, 400),
        default=200,
        help="a blocked request gets a completion that refuses, or an error (default: 200)",
    )
    decisions.add_argument(
        "--shadow", action="store_true", help="decide and count; change and refuse nothing"
    )


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
        "--log-content",
        action="store_true",
        help="log what users say and what was decided; by default a keyed hash",
    )
    recording.add_argument(
        "--record",
        metavar="DIR",
        help="keep requests, pictures and decisions (with --shadow the answers too) for `vlmguard "
        "gate --replay` and for training; needs --log-content",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("clients and limits")
    limits.add_argument(
        "--api-key-env",
        metavar="NAME",
        help="environment variable with the keys of clients, separated by commas; they stay here",
    )
    limits.add_argument(
        "--max-body", type=int, default=25_000_000, metavar="BYTES", help="(default: 25000000)"
    )
    limits.add_argument(
        "--max-concurrent",
        type=int,
        default=1_000,
        metavar="N",
        help="requests at a time, of each worker (default: 1000)",
    )
    limits.add_argument(
        "--max-queue",
        type=int,
        default=100,
        metavar="N",
        help="requests that wait; more get 429 (default: 100)",
    )


def _add_process(parser: argparse.ArgumentParser) -> None:
    process = parser.add_argument_group("the server")
    process.add_argument("--host", default="127.0.0.1", help="(default: 127.0.0.1)")
    process.add_argument("--port", type=int, default=8900, help="0 for a free one (default: 8900)")
    process.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes (default: 1)"
    )
    process.add_argument(
        "--grace",
        type=int,
        default=30,
        metavar="SECONDS",
        help="that running answers have when the server is stopped (default: 30)",
    )


def _serve(arguments: argparse.Namespace) -> int:
    # Imports and models take many seconds.
    print("vlmguard serve: loading ...", file=sys.stderr, flush=True)
    from vlmguard.guard.serving.start import serve

    return serve(arguments)

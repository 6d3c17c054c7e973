"""Makes a server of the arguments of the command line, and runs it."""

import argparse
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from inspect_ai.model import Model
from starlette.applications import Starlette

from vlmguard.guard.defense import defense_named
from vlmguard.guard.errors import UserError, check_count, check_number
from vlmguard.guard.outside import model_of, options_of, roles_of
from vlmguard.guard.paths import user_path
from vlmguard.guard.redaction import remember
from vlmguard.guard.roles import LocalModel
from vlmguard.guard.serving.app import endpoints_of, make_app
from vlmguard.guard.serving.demo import DEMO_PATH
from vlmguard.guard.serving.fetching import HOST_NAME, ImageFetcher
from vlmguard.guard.serving.greeting import greeting, warnings_of
from vlmguard.guard.serving.images import ImagePolicy
from vlmguard.guard.serving.metrics import FOLDER
from vlmguard.guard.serving.microworld import (
    SCENES_PATH,
    MicroworldUpstream,
    quiet_loading,
    tiny_models,
)
from vlmguard.guard.serving.running import bound, run
from vlmguard.guard.serving.settings import Settings
from vlmguard.guard.serving.upstream import Upstream

__all__ = ["app_of", "serve", "settings_of"]


def serve(arguments: argparse.Namespace) -> int:
    """Run the server until it is stopped; returns the exit status.

    Raises:
        UserError: An argument is wrong, or one is missing.
    """
    # Left by another program's server, it would add that one's figures to ours.
    os.environ.pop(FOLDER, None)
    settings = settings_of(arguments)
    app = make_app(settings)
    listening = bound(arguments.host, arguments.port)
    host, port = listening.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    card = defense_named(settings.defense).card
    for line in greeting(settings, card, endpoints_of(app), url):
        print(line, flush=True)
    if app.state.gateway_lacks:
        print(f"  no gateway   {app.state.gateway_lacks}", flush=True)
    if settings.microworld:
        print(f"  The microworld's tiny models, for tests: {url}{SCENES_PATH} has drawings with")
        print("  requests that they can answer.", flush=True)
    if settings.demo:
        print(f"  The page to try the guard: {url}{DEMO_PATH}", flush=True)
    for warning in warnings_of(settings, arguments):
        print(f"vlmguard: warning: {warning}", file=sys.stderr, flush=True)
    return run(app_of, arguments, listening)


def app_of(arguments: argparse.Namespace) -> Starlette:
    """The application that the arguments say, in the process that serves it."""
    if _is_tiny(arguments):
        quiet_loading()
    return make_app(settings_of(arguments))


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings that the arguments say.

    Raises:
        UserError: One is wrong or missing.
    """
    tiny = _is_tiny(arguments)
    if arguments.on_failure is None and not tiny:
        raise UserError(
            "--on-failure: say what is done if the guard cannot decide. `--on-failure refuse` "
            "answers 503; `--on-failure original` lets the request pass unguarded."
        )
    _check_numbers(arguments)
    client_keys = _client_keys(arguments.api_key_env)
    upstream: Upstream | None = None
    if tiny:
        if arguments.upstream:
            raise UserError("--microworld and --upstream are two models; give one of them.")
        upstream = MicroworldUpstream()
    elif arguments.upstream:
        upstream = _upstream(arguments, forwards_keys=not client_keys)
    models, options = tiny_models(arguments.defense) if tiny else ({}, {})
    return Settings(
        defense=arguments.defense,
        options={**options, **options_of(arguments)},
        roles=_wide({**models, **roles_of(arguments)}, arguments.max_concurrent),
        upstream=upstream,
        on_failure=arguments.on_failure or "original",
        guard_timeout=arguments.guard_timeout,
        block_status=arguments.block_status,
        shadow=arguments.shadow,
        microworld=tiny,
        demo=arguments.demo,
        images=_images(arguments),
        fetcher=_fetcher(arguments),
        record=_record(arguments),
        max_body=arguments.max_body,
        max_concurrent=arguments.max_concurrent,
        max_queue=arguments.max_queue,
        client_keys=client_keys,
        pass_through=tuple(arguments.pass_through),
        log_content=arguments.log_content,
        workers=arguments.workers,
    )


def _is_tiny(arguments: argparse.Namespace) -> bool:
    """Whether tiny models answer: a page for trials has them where no other is named."""
    return bool(arguments.microworld or (arguments.demo and not arguments.upstream))


def _record(arguments: argparse.Namespace) -> Path | None:
    if arguments.record is None:
        return None
    if not arguments.log_content:
        raise UserError(
            "--record keeps what users say and show. Say so with --log-content, or leave it out."
        )
    return user_path(arguments.record)


def _images(arguments: argparse.Namespace) -> ImagePolicy:
    check_count("--max-images", arguments.max_images, 0)
    check_count("--max-image-bytes", arguments.max_image_bytes, 1)
    check_count("--max-pixels", arguments.max_pixels, 1)
    return ImagePolicy(arguments.max_images, arguments.max_image_bytes, arguments.max_pixels)


def _fetcher(arguments: argparse.Namespace) -> ImageFetcher | None:
    if arguments.fetch_images is None:
        return None
    if not arguments.fetch_timeout > 0:
        raise UserError(f"--fetch-timeout={arguments.fetch_timeout}: give more than 0 seconds.")
    hosts = None
    if arguments.fetch_images != "any":
        hosts = frozenset(each.strip().lower() for each in arguments.fetch_images.split(","))
        for host in hosts:
            if not HOST_NAME.fullmatch(host):
                raise UserError(
                    f"--fetch-images {host}: host names are needed, as in pictures.example.com, "
                    "without https:// and without a port; or the word any."
                )
    return ImageFetcher(hosts, arguments.max_image_bytes, arguments.fetch_timeout)


def _wide(roles: dict[str, Model], most: int) -> dict[str, Model]:
    """The models, each asked about as many requests at a time as are served.

    Inspect's own limit begins at 20, and what waits for it would run out of the guard's time.
    """
    for model in roles.values():
        own = model.config.max_connections or model.config.adaptive_connections
        if not own and not isinstance(model.api, LocalModel):
            model.config.max_connections = most
    return roles


def _check_numbers(arguments: argparse.Namespace) -> None:
    for option in ("max_body", "max_concurrent", "workers"):
        check_count(f"--{option.replace('_', '-')}", getattr(arguments, option), 1)
    for option in ("max_queue", "grace"):
        check_count(f"--{option.replace('_', '-')}", getattr(arguments, option), 0)
    for option in ("guard_timeout", "upstream_timeout"):
        # A thousandth of a second is no time; infinity is.
        check_number(f"--{option.replace('_', '-')}", getattr(arguments, option), 0.001)


def _upstream(arguments: argparse.Namespace, forwards_keys: bool) -> Upstream:
    url = arguments.upstream
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment or any(each.isspace() for each in url):
        raise UserError(
            f"--upstream {url}: the base URL of an OpenAI-compatible API is needed, such as "
            "https://api.openai.com/v1."
        )
    if parts.username is not None or parts.password is not None:
        raise UserError(
            "--upstream: the URL holds a user or password. Put a key into a variable of the "
            "environment, and name it: --upstream-key-env NAME."
        )
    key = None
    if arguments.upstream_key_env is not None:
        key = _variable("--upstream-key-env", arguments.upstream_key_env)
    named = arguments.target_model
    return Upstream(
        url,
        key,
        timeout=arguments.upstream_timeout,
        forwards_keys=forwards_keys,
        questions=model_of("--target-model", named) if named else None,
    )


def _client_keys(name: str | None) -> tuple[str, ...]:
    """The keys of clients; none for any client."""
    if name is None:
        return ()
    keys = tuple(_variable("--api-key-env", name).replace(",", " ").split())
    if not keys:
        raise UserError(f"--api-key-env {name}: this variable holds no key.")
    remember({"headers": dict(enumerate(keys))})
    return keys


def _variable(option: str, name: str) -> str:
    if not os.environ.get(name):
        raise UserError(f"{option} {name}: the environment has no such variable, or an empty one.")
    return os.environ[name]

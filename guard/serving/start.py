"""Makes a server of the arguments of the command line, and runs it."""

import argparse
import os
from pathlib import Path

import uvicorn

from vlmguard.guard.errors import UserError, check_count
from vlmguard.guard.outside import model_of, options_of, roles_of
from vlmguard.guard.paths import user_path
from vlmguard.guard.serving.app import make_app
from vlmguard.guard.serving.fetching import HOST_NAME, ImageFetcher
from vlmguard.guard.serving.images import ImagePolicy
from vlmguard.guard.serving.microworld import (
    SCENES_PATH,
    MicroworldUpstream,
    quiet_loading,
    tiny_models,
)
from vlmguard.guard.serving.settings import Settings
from vlmguard.guard.serving.upstream import Upstream

__all__ = ["serve", "settings_of"]


def serve(arguments: argparse.Namespace) -> int:
    """Run the server until it is stopped; returns the exit status.

    Raises:
        UserError: An argument is wrong, or one is missing.
    """
    settings = settings_of(arguments)
    app = make_app(settings)
    address = f"http://{arguments.host}:{arguments.port}"
    print(f"vlmguard serve: {settings.defense} on {address}", flush=True)
    if settings.microworld:
        quiet_loading()
        print(f"In front of the microworld's tiny models, for tests. {address}{SCENES_PATH} has")
        print("drawings with requests that they can answer.", flush=True)
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")
    return 0


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings that the arguments say.

    Raises:
        UserError: One is wrong or missing.
    """
    if arguments.on_failure is None and not arguments.microworld:
        raise UserError(
            "--on-failure: say what is done if the guard cannot decide. `--on-failure refuse` "
            "answers 503; `--on-failure original` lets the request pass unguarded."
        )
    upstream: Upstream | None = None
    if arguments.microworld:
        if arguments.upstream:
            raise UserError("--microworld and --upstream are two models; give one of them.")
        upstream = MicroworldUpstream()
    elif arguments.upstream:
        named = arguments.target_model
        upstream = Upstream(
            arguments.upstream,
            _key(arguments.upstream_key_env),
            questions=model_of("--target-model", named) if named else None,
        )
    models, options = tiny_models(arguments.defense) if arguments.microworld else ({}, {})
    return Settings(
        defense=arguments.defense,
        options={**options, **options_of(arguments)},
        roles={**models, **roles_of(arguments)},
        upstream=upstream,
        on_failure=arguments.on_failure or "original",
        guard_timeout=arguments.guard_timeout,
        block_status=arguments.block_status,
        shadow=arguments.shadow,
        microworld=arguments.microworld,
        images=_images(arguments),
        fetcher=_fetcher(arguments),
        log_content=arguments.log_content,
        record=_record(arguments),
    )


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


def _key(name: str | None) -> str | None:
    if name is None:
        return None
    if not os.environ.get(name):
        raise UserError(f"--upstream-key-env {name}: the environment has no such variable.")
    return os.environ[name]

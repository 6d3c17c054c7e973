"""What a server was started with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from inspect_ai.model import Model

from vlmguard.guard.serving.fetching import ImageFetcher
from vlmguard.guard.serving.images import ImagePolicy
from vlmguard.guard.serving.upstream import Upstream

__all__ = ["OnServerFailure", "Settings"]

OnServerFailure = Literal["original", "refuse"]
"""What is done if the guard cannot decide: let the request pass as it is, or answer 503."""


@dataclass(frozen=True)
class Settings:
    """Everything that the server does depends on these.

    Attributes:
        defense: Name of the defense.
        options: Its options.
        roles: The models that it asks, by role.
        upstream: The product's model; None for a server of decisions alone (`/v1/rewrite`, and a
            gateway's endpoint).
        on_failure: What is done if the guard cannot decide.
        guard_timeout: Seconds that the guard has for one request.
        block_status: Whether a blocked request gets a normal completion (200) or an error (400).
        shadow: Decide and count, and change nothing.
        microworld: Whether the upstream is the microworld, whose drawn scenes are offered then.
        demo: Whether there is a page to try the guard in a browser.
        max_body: The most bytes of a body.
        images: How many images a request may have, and how large.
        fetcher: Fetches linked images for the guard; None if these are refused.
        max_concurrent: The most requests at a time; more wait.
        max_queue: The most requests that wait; more get 429.
        client_keys: Keys, one of which a client must have; none for any client.
        pass_through: Paths that go to the upstream without the guard, besides `/v1/models`.
        log_content: Whether the log has what was asked and decided.
        record: Folder to which requests and decisions are written; None for none.
        workers: Number of processes of the server.
    """

    defense: str
    options: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, Model] = field(default_factory=dict)
    upstream: Upstream | None = None
    on_failure: OnServerFailure = "refuse"
    guard_timeout: float = 30.0
    block_status: Literal[200, 400] = 200
    shadow: bool = False
    microworld: bool = False
    demo: bool = False
    max_body: int = 25_000_000
    images: ImagePolicy = field(default_factory=ImagePolicy)
    fetcher: ImageFetcher | None = None
    max_concurrent: int = 1_000
    max_queue: int = 100
    client_keys: tuple[str, ...] = field(default=(), repr=False)
    pass_through: tuple[str, ...] = ()
    log_content: bool = False
    record: Path | None = None
    workers: int = 1

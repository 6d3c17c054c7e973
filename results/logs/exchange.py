"""What was asked and answered: the texts and images of single samples."""

from dataclasses import dataclass

from inspect_ai.log import EvalSample, read_eval_log_sample

from vlmguard.guard.messages import images_of
from vlmguard.guard.record import DefenseRecord


@dataclass(frozen=True)
class Exchange:
    """One sample of a log.

    Attributes:
        request: What the user asked.
        rewritten: What the target was asked instead; empty if nothing else.
        answer: The answer that was scored.
        images: Images of the request as data URIs, where the log holds them.
    """

    request: str
    rewritten: str
    answer: str
    images: tuple[str, ...]


def read_exchange(path: str, sample: str | int, epoch: int) -> Exchange:
    """Read one sample's texts and images.

    Args:
        path: The log.
        sample: Its id.
        epoch: Its epoch.

    Returns:
        The exchange.
    """
    return exchange(
        read_eval_log_sample(
            path, sample, epoch, resolve_attachments=True, exclude_fields={"events"}
        )
    )


def exchange(sample: EvalSample) -> Exchange:
    """The texts and images of a sample.

    Args:
        sample: A whole sample, attachments resolved.

    Returns:
        The exchange.
    """
    said = sample.input
    request = said if isinstance(said, str) else "\n".join(message.text for message in said)
    rewritten = DefenseRecord.of(sample).rewritten or ""
    return Exchange(
        request=request,
        rewritten=rewritten if rewritten != request else "",
        answer=sample.output.completion,
        # Only bytes that lie in the log: a reference could be fetched by whoever opens a page.
        images=tuple(image for image in images_of(said) if image.startswith("data:image/")),
    )

"""Request, answer and images of single samples."""

from dataclasses import dataclass

from inspect_ai.log import EvalSample, read_eval_log_sample

from vlmguard.guard.messages import images_of
from vlmguard.guard.record import DefenseRecord


@dataclass(frozen=True)
class Exchange:
    """One sample of a log.

    Attributes:
        request: What the user asked.
        rewritten: The request that the target got instead, if it differs; else empty.
        answer: The answer that was scored.
        images: Images of the request as data URIs, if the log holds them.
    """

    request: str
    rewritten: str
    answer: str
    images: tuple[str, ...]


def read_exchange(path: str, sample: str | int, epoch: int) -> Exchange:
    """Read one sample of a log, by its id and epoch."""
    return exchange(
        read_eval_log_sample(
            path, sample, epoch, resolve_attachments=True, exclude_fields={"events"}
        )
    )


def exchange(sample: EvalSample) -> Exchange:
    """The texts and images of a whole sample with resolved attachments."""
    said = sample.input
    request = said if isinstance(said, str) else "\n".join(message.text for message in said)
    rewritten = DefenseRecord.of(sample).rewritten or ""
    return Exchange(
        request=request,
        rewritten=rewritten if rewritten != request else "",
        answer=sample.output.completion,
        # Only bytes from the log: a link would be fetched by the browser that shows a page.
        images=tuple(image for image in images_of(said) if image.startswith("data:image/")),
    )

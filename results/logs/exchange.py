"""What was asked and answered: the texts and images of single samples."""

from dataclasses import dataclass
from html import escape

from inspect_ai.log import EvalSample, read_eval_log_sample

from vlmguard.guard.messages import images_of
from vlmguard.guard.record import DefenseRecord
from vlmguard.results.sanitize import clean


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


def html_page(title: str, intro: str, blocks: list[str]) -> str:
    """A plain page that loads nothing from anywhere.

    Args:
        title: Its heading.
        intro: A sentence below.
        blocks: HTML that is already escaped.

    Returns:
        The page.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>{escape(intro)}</p>{''.join(blocks)}</body></html>\n"
    )


def html_images(images: tuple[str, ...]) -> str:
    """Images of a request, as HTML."""
    return "".join(f'<img src="{escape(image)}" alt="image of the request">' for image in images)


def html_text(label: str, text: str) -> str:
    """A labelled text, as HTML; nothing for an empty one."""
    return f"<h3>{escape(label)}</h3><pre>{escape(clean(text))}</pre>" if text else ""


_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, "DejaVu Sans", sans-serif; max-width: 1200px;
  margin: 24px auto; padding: 0 16px; }
article { border: 1px solid #8886; border-radius: 10px; padding: 4px 18px 14px; margin: 18px 0; }
h2 { font-size: 17px; } h3 { font-size: 13px; margin: 12px 0 2px; opacity: .75; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; margin: 0; }
img { max-width: 320px; max-height: 320px; border-radius: 6px; margin-right: 8px; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 24px; }
"""

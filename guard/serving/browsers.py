"""Pages in a browser that may use the server, where no client needs a key: its own, and no others.

A server on 127.0.0.1 is reached by everything that runs on the machine, and that is every page that
somebody looks at there. A page of another site may send a request without being asked, or have its
name lead to 127.0.0.1 a moment later (DNS rebinding), which makes it the server's own site to the
browser. Browsers name the page with every request that is no GET (`Origin`); other clients do not.
"""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from vlmguard.guard.serving.faults import Fault

__all__ = ["check_page"]


def check_page(scope: Scope) -> None:
    """Refuse a request of a page that is not the server's own, by a number or `localhost`.

    Raises:
        Fault: It is of another page, or the server's own was opened by a name.
    """
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    if origin is None or scope["method"] in ("GET", "HEAD"):
        return
    try:
        page = urlsplit(origin)
        own = page.netloc == headers.get("host", "") and _is_fixed(page.hostname or "")
    except ValueError:
        own = False
    if not own:
        said = (
            "A page in a browser may use this server without a key if it is the server's own, "
            "opened by http://127.0.0.1 or another number. Others need a key (--api-key-env), or "
            "a proxy before this server that knows them and takes the header Origin out."
        )
        raise Fault(403, "other_page", said)


def _is_fixed(host: str) -> bool:
    """Whether nobody can have this name lead somewhere else."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

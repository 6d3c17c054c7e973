"""Which network addresses a server may fetch from: the public internet, and nothing inside.

A client that may name an address must not reach what only the server reaches: its own ports, its
network, the metadata of its cloud. So nothing is allowed but global unicast, and no form in which
an IPv6 address carries an IPv4 address, since a translator on the way would unwrap it.
"""

import ipaddress
from typing import Final

__all__ = ["is_public"]

_GLOBAL_V6: Final = ipaddress.ip_network("2000::/3")
"""All that is given out as global unicast (IANA); all else in IPv6 is local or special."""

_NOT_PUBLIC_V6: Final = tuple(
    ipaddress.ip_network(each)
    for each in (
        "2001::/23",  # protocol assignments; Teredo, which carries IPv4, is one of them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries IPv4
        "3fff::/20",  # documentation
    )
)
_NOT_PUBLIC_V4: Final = tuple(
    ipaddress.ip_network(each)
    for each in (
        # The first two are missing in `ipaddress` of some of the Pythons that we support.
        "192.0.0.0/24",  # protocol assignments, some clouds' metadata
        "192.88.99.0/24",  # relays of 6to4
        "168.63.129.16/32",  # a public number, behind which Azure has services of the host itself
    )
)


def is_public(address: str) -> bool:
    """Whether an address is global unicast, in IPv4 or IPv6.

    Args:
        address: A numeric address. Anything else, and one with a zone (`fe80::1%eth0`), is not.
    """
    try:
        number = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(number, ipaddress.IPv6Address):
        if number.scope_id is not None or number not in _GLOBAL_V6:
            return False
        return not any(number in network for network in _NOT_PUBLIC_V6)
    if not number.is_global or number.is_multicast or number.is_reserved:
        return False
    return not any(number in network for network in _NOT_PUBLIC_V4)

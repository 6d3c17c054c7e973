"""Which addresses are public, by the registries of IANA."""

import pytest

from vlmguard.guard.serving.addresses import is_public

PUBLIC = ["1.1.1.1", "8.8.8.8", "104.16.132.229", "223.255.255.254", "2606:4700::6810:84e5"]
PUBLIC += ["2001:4860:4860::8888", "2a00:1450:4001:80b::200e", "2620:fe::fe"]

NOT_PUBLIC = {
    "loopback": ["127.0.0.1", "127.8.8.8", "::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1"],
    "link-local": ["169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "fe80::1%1"],
    "clouds": ["168.63.129.16", "192.0.0.192", "100.100.100.200", "fd00:ec2::254"],
    "carrier NAT": ["100.64.0.1", "100.127.255.255"],
    "IPv4 in IPv6": ["::ffff:8.8.8.8", "::ffff:127.0.0.1", "::8.8.8.8", "::ffff:0:8.8.8.8"],
    "NAT64": ["64:ff9b::8.8.8.8", "64:ff9b::a00:1", "64:ff9b:1::1"],
    "6to4 and Teredo": ["2002:7f00:1::1", "2002:808:808::1", "2001::1", "192.88.99.1"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "4000::1", "5f00::1", "100::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarks": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "site-local": ["fec0::1"],
    "no address": ["", "localhost", "0x7f.1", "2130706433", "127.1", "1.1.1.1:443", "[::1]"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address", [pytest.param(each, id=f"{k}-{each}") for k, v in NOT_PUBLIC.items() for each in v]
)
def test_nothing_else(address: str) -> None:
    assert not is_public(address)

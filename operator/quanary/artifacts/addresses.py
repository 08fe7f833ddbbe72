"""Which addresses a URL that a user gave may lead to."""

import ipaddress
from typing import Final

# Addresses of cloud metadata and credentials that no rule for loopback or link-local covers.
_METADATA: Final = frozenset(
    map(
        ipaddress.ip_address,
        ("100.100.100.200", "168.63.129.16", "fd00:ec2::23", "fd00:ec2::254", "fd20:ce::254", "fd00:42::42"),
    )
)
# Of these a NAT64 takes the last 32 bits for an IPv4 address.
_TRANSLATED: Final = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48")))


def is_forbidden(address: str, *, may_be_local: bool = False) -> bool:
    """Loopback (unless `may_be_local`), link-local, unspecified, multicast and metadata; a cluster's own are fine."""
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = _within(ip) or ip
    if ip.is_loopback:
        return not may_be_local
    return ip.is_link_local or ip.is_unspecified or ip.is_multicast or ip in _METADATA


def _within(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to: mapped, 6to4, or through a translator (RFC 6052, RFC 8215)."""
    if any(ip in network for network in _TRANSLATED):
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour

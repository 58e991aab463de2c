"""Rules for contacting a host: public addresses, opt-outs, Retry-After."""

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_UNICAST = ipaddress.ip_network("2000::/3")  # all of IPv6 that is assigned for the internet
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


def is_public(address: str, allowed: Iterable[str] = ()) -> bool:
    """Whether connections to `address` (an IP address, perhaps with a zone) are permitted.

    An IPv6 address that contains an IPv4 address (mapped, 6to4, NAT64) is judged by the latter:
    `ipaddress` calls ::ffff:10.0.0.1 private, but 2002:a00:1:: and 64:ff9b::a00:1 global. It also
    calls site-local, multicast and translated addresses global.

    allowed: private networks that may be reached, such as 10.1.0.0/16.
    ValueError if `address` is a name.
    """
    ip = ipaddress.ip_address(address.split("%")[0])
    if ip.version == 6:
        inner = ip.ipv4_mapped or ip.sixtofour
        ip = inner or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else ip)
    if any(ip in ipaddress.ip_network(network) for network in allowed):
        return True
    return ip.is_global and not ip.is_multicast and (ip.version == 4 or ip in _UNICAST)


OPT_OUTS = ("noai", "noimageai", "noindex", "noimageindex")
"""Directives of X-Robots-Tag that forbid such downloads; the defaults of img2dataset:
https://github.com/rom1504/img2dataset#opt-out-directives"""


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header demands (number or date); 0 if it is invalid."""
    try:
        return max(0.0, float(int(value)))
    except (ValueError, OverflowError):
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):  # TypeError: a date without a zone
        return 0.0

"""Network addresses: which may be called (public ones, and networks named in a setting), and which share an origin.

Were every address allowed, whoever registers a webhook could have this server call what only it can reach: its own
services, the hospital's network, a cloud's metadata (server-side request forgery).
"""

import ipaddress
from collections.abc import Sequence
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""Holds an IPv4 address in its last 32 bits (RFC 6052)."""
_NOT_PUBLIC: Final = tuple(
    map(ipaddress.ip_network, ("fec0::/10", "3fff::/20", "192.88.99.0/24", "192.0.0.0/24", "168.63.129.16/32"))
)
"""Networks that at least some versions of Python's `ipaddress` wrongly call public: RFC 3879, RFC 9637, RFC 7526 and
RFC 6890, where a cloud has its metadata (192.0.0.192); and the address that Azure offers only to its own machines."""
_SITE_BITS: Final = 64
"""Network part of an IPv6 address; a site chooses the rest freely (RFC 4291, section 2.5.4)."""


def read_networks(text: str | None) -> tuple[Network, ...]:
    """Read comma-separated networks; raise ValueError naming the first invalid one."""
    return tuple(ipaddress.ip_network(part.strip()) for part in (text or "").split(",") if part.strip())


def is_named(address: str, networks: Sequence[Network]) -> bool:
    """Tell whether an address is in one of the networks that the setting names."""
    found = _carried(ipaddress.ip_address(address.partition("%")[0]))
    return any(found in network for network in networks if network.version == found.version)


def may_be_called(address: str, networks: Sequence[Network]) -> bool:
    """Tell whether an address is public or in one of the networks."""
    found = _carried(ipaddress.ip_address(address.partition("%")[0]))
    is_public = found.is_global and not found.is_multicast and not found.is_reserved
    return (is_public and not is_named(address, _NOT_PUBLIC)) or is_named(address, networks)


def origin_of(address: str) -> str:
    """Return what requests from an address are counted under: the IPv4 address, or the network of an IPv6 one.

    An IPv6 connection has 2 ** 64 addresses, so it could use a new one for each request. What is not an address is
    returned unchanged.
    """
    try:
        found = _carried(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(ipaddress.ip_network((int(found), _SITE_BITS), strict=False))


def _carried(address: Address) -> Address:
    """Return the IPv4 address embedded in an IPv6 address, if any."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address

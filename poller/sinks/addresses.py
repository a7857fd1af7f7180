"""To which addresses nothing is sent, and why: judged of the address itself, after names were resolved.

Whoever can choose where a webhook goes, or what its name resolves to, must not reach the services that give a machine
its credentials. Pure. Sources: IANA's registries of special-purpose addresses (RFC 6890), RFC 6052 and 8215 (NAT64),
RFC 3056 (6to4), RFC 4380 (Teredo), RFC 5214 (ISATAP); the clouds' own documentation for their metadata services.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

NEVER: Final[tuple[tuple[IPv4Network | IPv6Network, str], ...]] = tuple(
    (ip_network(network), what)
    for what, networks in (
        (
            "the metadata service of a cloud",
            (
                "169.254.169.254/32",  # AWS, Azure, Google, and most others
                "169.254.170.2/32",  # AWS: credentials of an ECS task
                "169.254.170.23/32",  # AWS: credentials of an EKS pod
                "fd00:ec2::/32",  # AWS: ::254 metadata, ::23 EKS pods
                "fd20:ce::254/128",  # Google
                "fd00:42::42/128",  # Scaleway
                "100.100.100.200/32",  # Alibaba
                "168.63.129.16/32",  # Azure: the wire server
                "192.0.0.192/32",  # Oracle
            ),
        ),
        ("a link-local address", ("169.254.0.0/16", "fe80::/10")),
        ("no address of a host", ("0.0.0.0/8", "::/128")),
        ("a multicast address", ("224.0.0.0/4", "ff00::/8")),
        ("a reserved address", ("240.0.0.0/4",)),
    )
    for network in networks
)
"""Where nothing is ever sent, whatever the configuration says."""

_LAST_32: Final = tuple(
    ip_network(prefix)
    for prefix in (
        "::ffff:0:0/96",  # IPv4-mapped
        "::ffff:0:0:0/96",  # IPv4-translated
        "::/96",  # IPv4-compatible
        "64:ff9b::/96",  # NAT64
    )
)
"""IPv6 prefixes whose last 32 bits are an IPv4 address."""
_LOCAL_NAT64: Final = ip_network("64:ff9b:1::/48")
_6TO4: Final = ip_network("2002::/16")
_TEREDO: Final = ip_network("2001::/32")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


def refusal(text: str, *, allow_private: bool = True) -> str | None:
    """Why nothing is sent to an address, as a sentence; None if it may be.

    Args: `text` is an address as it is connected to; what is none is refused, since it would be resolved once more.
    Without `allow_private` only addresses of the public internet are left: no loopback, no private network.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return f"{text[:60]!r} is no address"
    carried = tuple(_carried(address)) if isinstance(address, IPv6Address) else ()
    for one in (address, *carried):
        for network, what in NEVER:
            if one.version == network.version and one in network:
                return f"{_named(address, one)} is {what}, to which nothing is ever sent"
    if not allow_private:
        for one in carried or (address,):
            if not one.is_global or (isinstance(one, IPv6Address) and one.is_site_local):
                return (
                    f"{_named(address, one)} is an address of a private network or of this machine: "
                    "set allow_private = true if that is meant"
                )
    return None


def literal(host: str) -> str | None:
    """The address that a host of a URL is, in brackets or not; None if it is a name."""
    text = host.removeprefix("[").removesuffix("]")
    try:
        ip_address(text)
    except ValueError:
        return None
    return text


def _named(address: Address, one: Address) -> str:
    return str(address) if address == one else f"{address}, which stands for {one},"


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address may lead to."""
    bits = int(address)
    if bits in (0, 1):  # `::` and `::1`
        return
    if any(address in prefix for prefix in _LAST_32) or bits >> 32 & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(bits & 0xFFFFFFFF)
    if address in _6TO4:
        yield IPv4Address(bits >> 80 & 0xFFFFFFFF)
    if address in _TEREDO:
        yield IPv4Address(bits >> 64 & 0xFFFFFFFF)  # its server
        yield IPv4Address(~bits & 0xFFFFFFFF)  # its client
    if address in _LOCAL_NAT64:
        yield from (found for found in _of_rfc_6052(bits) if int(found) >> 24)  # 0.…: padding, by another length


def _of_rfc_6052(bits: int) -> Iterator[IPv4Address]:
    """The address in a prefix of 48, 56, 64 or 96 bits, which we do not know; bits 64 to 71 are left out."""
    without = bits >> 64 << 56 | bits & (1 << 56) - 1
    for length in (48, 56, 64):
        yield IPv4Address(without >> 120 - length - 32 & 0xFFFFFFFF)
    yield IPv4Address(bits & 0xFFFFFFFF)

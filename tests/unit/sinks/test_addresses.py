"""Which addresses nothing is sent to, in whatever disguise they come."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.sinks.addresses import literal, refusal

METADATA = "169.254.169.254"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (METADATA, "is the metadata service of a cloud"),
        ("169.254.170.2", "metadata service"),
        ("169.254.170.23", "metadata service"),
        ("fd00:ec2::254", "metadata service"),
        ("fd00:ec2::23", "metadata service"),
        ("fd20:ce::254", "metadata service"),
        ("100.100.100.200", "metadata service"),
        ("168.63.129.16", "metadata service"),
        ("169.254.0.1", "a link-local address"),
        ("169.254.255.255", "a link-local address"),
        ("fe80::1", "a link-local address"),
        ("fe80::1%eth0", "a link-local address"),
        ("febf:ffff::1", "a link-local address"),
        (str(IPv4Address(0)), "no address of a host"),
        ("0.1.2.3", "no address of a host"),
        ("::", "no address of a host"),
        ("224.0.0.1", "a multicast address"),
        ("239.255.255.250", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("255.255.255.255", "a reserved address"),
        ("240.0.0.1", "a reserved address"),
        # disguises
        ("::ffff:169.254.169.254", "which stands for 169.254.169.254, is the metadata service"),
        ("::ffff:a9fe:a9fe", "which stands for 169.254.169.254,"),
        ("::169.254.169.254", "which stands for 169.254.169.254,"),
        ("::ffff:0:169.254.169.254", "which stands for 169.254.169.254,"),
        ("64:ff9b::169.254.169.254", "which stands for 169.254.169.254,"),
        ("64:ff9b:1::169.254.169.254", "which stands for 169.254.169.254,"),
        ("64:ff9b:1:a9fe:a9:fe00::", "which stands for 169.254.169.254,"),
        ("64:ff9b:1:a9:fe:a9fe::", "which stands for 169.254.169.254,"),
        ("64:ff9b:1:0:a9:fea9:fe00:0", "which stands for 169.254.169.254,"),
        ("2002:a9fe:a9fe::1", "which stands for 169.254.169.254,"),
        ("2001:0:a9fe:a9fe::1", "which stands for 169.254.169.254,"),
        ("2001:0:101:101::5601:5601", "which stands for 169.254.169.254,"),
        ("2001:db8::5efe:169.254.169.254", "which stands for 169.254.169.254,"),
        ("2001:db8::200:5efe:169.254.169.254", "which stands for 169.254.169.254,"),
        ("::ffff:0.0.0.0", "no address of a host"),
        ("::ffff:224.0.0.1", "a multicast address"),
        # what is no address would be resolved once more
        ("2852039166", "is no address"),
        ("0xa9fea9fe", "is no address"),
        ("127.1", "is no address"),
        ("0251.0376.0251.0376", "is no address"),
        ("metadata.google.internal", "is no address"),
        ("", "is no address"),
    ],
)
def test_nothing_is_ever_sent_there(address: str, says: str) -> None:
    for allow_private in (True, False):
        assert says in (refusal(address, allow_private=allow_private) or "")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "198.18.0.1",
        "::1",
        "fc00::1",
        "fd12:3456::1",
        "fec0::1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::10.0.0.1",
        "2002:a00:1::1",
    ],
)
def test_private_addresses_are_the_operators_choice(address: str) -> None:
    assert refusal(address) is None
    assert "set allow_private = true" in (refusal(address, allow_private=False) or "")


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8", "2002:808:808::1"],
)
def test_public_addresses_are_free(address: str) -> None:
    assert refusal(address, allow_private=False) is None


@given(st.ip_addresses())
def test_every_address_is_judged_and_the_stricter_rule_refuses_no_less(address: IPv4Address | IPv6Address) -> None:
    if refusal(str(address)) is not None:
        assert refusal(str(address), allow_private=False) is not None
    if address.version == 4 and refusal(str(address), allow_private=False) is None:
        assert address.is_global


@given(st.ip_addresses(v=4))
def test_a_disguise_is_refused_where_what_it_stands_for_is(address: IPv4Address) -> None:
    for prefix in ("::ffff:0:0", "64:ff9b::", "::ffff:0:0:0"):
        disguised = str(ip_address(int(ip_address(prefix)) | int(address)))
        for allow_private in (True, False):
            refused = refusal(str(address), allow_private=allow_private) is not None
            assert (refusal(disguised, allow_private=allow_private) is not None) == refused


def test_a_host_is_an_address_or_a_name() -> None:
    assert literal("[::1]") == "::1"
    assert literal("10.0.0.1") == "10.0.0.1"
    assert literal("lims.example.org") is None

"""Which addresses may be called: public ones and those that a setting names."""

import pytest

from shared.network_addresses import is_named, may_be_called, origin_of, read_networks

NAMED = read_networks("10.2.0.0/16, fd00:1::/32,127.0.0.1")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # the metadata of a cloud
        "192.0.0.192",  # of another
        "192.0.0.9",
        "168.63.129.16",  # of a third
        "100.64.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "fec0::1",
        "3fff::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "2001:db8::1",
    ],
)
def test_no_address_but_a_public_one_is_called(address: str) -> None:
    assert not may_be_called(address, ())


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_called(address: str) -> None:
    assert may_be_called(address, ())
    assert not is_named(address, NAMED)


@pytest.mark.parametrize("address", ["10.2.3.4", "127.0.0.1", "fd00:1::5", "::ffff:10.2.3.4"])
def test_what_a_setting_names_is_called(address: str) -> None:
    assert may_be_called(address, NAMED)
    assert is_named(address, NAMED)


@pytest.mark.parametrize("address", ["10.3.0.1", "127.0.0.2", "fd00:2::5", "169.254.169.254"])
def test_what_lies_beside_it_is_not(address: str) -> None:
    assert not may_be_called(address, NAMED)


def test_what_is_no_network_is_named() -> None:
    with pytest.raises(ValueError, match=r"10\.2\.0\.0/99"):
        read_networks("10.2.0.0/99")
    assert read_networks(None) == read_networks(" ,") == ()


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),  # IPv4 on a server that listens on ::
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::6%eth0", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::6", "2001:db8:1:3::/64"),
        ("unknown", "unknown"),
    ],
)
def test_requests_are_counted_by_ipv4_address_and_ipv6_network(address: str, origin: str) -> None:
    assert origin_of(address) == origin

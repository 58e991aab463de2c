"""No way of writing a private address makes it public."""

import pytest

from countclip.runtime.hosts import is_public

PRIVATE = [
    "10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1", "0.0.0.0",
    "255.255.255.255", "224.0.0.1", "::1", "::", "fd00::1", "fe80::1%eth0", "fec0::1", "ff0e::1",
    "2001:db8::1", "2001:0:a00:1::1", "5f00::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1",
    "::ffff:0:10.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1", "2002:a00:1::", "2002:7f00:1::1",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "93.184.216.34", "2001:4860:4860::8888",
    "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_in_every_notation(address: str) -> None:
    assert not is_public(address)
    assert not is_public(address, ["172.16.0.0/12"])


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_let_through(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "fd12::5"])
def test_what_the_config_allows_is_let_through(address: str) -> None:
    assert is_public(address, ["10.1.0.0/16", "fd12::/16"])
    assert not is_public(address, ["10.2.0.0/16"])


def test_a_name_is_no_address() -> None:
    with pytest.raises(ValueError, match="localhost"):
        is_public("localhost")

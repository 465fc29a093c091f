"""The host of an address is the one to which a browser goes, in one form for all its spellings."""

from __future__ import annotations

from pathlib import Path

import pytest
from ada_url import parse_url
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.amount import amount
from tests.support.audits import ended
from tests.support.database_files import opened, with_texts_twice
from veritas_peewee import connect, sync
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.values.addresses import host_of

# Each was given to `new URL` of Node.js 20; its answer is on the right.
BROWSERS = {
    "127.0.0.1": [
        "http://2130706433/", "http://0x7f000001/", "http://017700000001", "https://0x7f.1/x",
        "http://127.1/", "http://127.0.0.1./", "http://0x7F.0.0.0x1/", "ftp://0x7f.1/",
        "https://\uff11\uff12\uff17\uff0e\uff10\uff0e\uff10\uff0e\uff11/", "ws://2130706433",
        "https://127\u30020\u30020\u30021/", "https://%31%32%37.0.0.1/", "//2130706433/",
        "https://\u2460\u2461\u2466.0.0.1/", "2130706433", "2130706433:8080/login", "0x7f.1",
    ],
    "192.168.1.1": ["http://192.168.257/", "http://3232235777", "http://0300.0250.01.01"],
    "0.0.0.0": ["https://0/", "https://0x/"],
    "255.255.255.255": ["https://4294967295/"],
    "::1": ["https://[0:0:0:0:0:0:0:1]/", "https://[::1]:80/", "::1", "[::1]:443"],
    "2001:db8::1": ["https://[2001:DB8::0:1]/"],
    "::ffff:7f00:1": ["https://[::ffff:127.0.0.1]/"],
    "1:2:0:3:4:5:6:7": ["https://[1:2::3:4:5:6:7]/"],
    "a.example": [
        "HTTPS://A.example", " https://a.example ", "https:a.example", "https:/a.example/",
        "https:\\\\a.example\\x", "http://///a.example", "https:///a.example", "\\\\a.example\\x",
        "https://a.example\\@b.example/", "https://a.example?@b.example/", "https://@a.example/",
        "https://a.example#@b.example", "https://user@other@a.example/", "https://a.example:/",
        "https://user:pw@a.example:0080", "https://\ta.exa\nmple/", "https://\uff41\uff0eexample/",
        "https://a\u00ad.example/", "https://\u200ba.example", "https://a\u2060.example./",
        "https://%41.example", "https://a.example..",
    ],
    "xn--wgv71a119e.jp": ["https://日本語。jp/"],
    "xn--fa-hia.example": ["https://faß.example", "https://XN--FA-HIA.example"],
    "xn--i-9bb.example": ["https://\u0130.example/"],
    "xn--ab-miv.example": ["https://a\u2260b.example/"],
    "viii.example": ["https://\u2167.example/"],
    "1.2.3.4.a": ["https://1.2.3.4.a/"],
    "0x4.foo": ["https://0X4.foo/"],
    "1e2": ["https://1e2/"],
    "a..example": ["https://a..example/"],
    "-a-.example": ["https://-a-.example/"],
    "a_b.example": ["https://a_b.example/"],
}  # fmt: skip
# No browser goes there; each is found by what is written.
NOWHERE = {
    "https://1.2.3.256/": "1.2.3.256", "https://4294967296/": "4294967296",
    "https://foo.09/": "foo.09", "https://ex%00ample.com/": "ex%00ample.com",
    "https://EX%2Fample.com/": "ex%2fample.com", "https://a b.example/": "a b.example",
    "https://[fe80::1%25eth0]/": "fe80::1%25eth0", "https://a.example:65536/": "a.example",
    "https://[1::2::3]/": "", "https://[::1": "", "file:///a.example": "", "": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("host", "address"), [(host, address) for host in BROWSERS for address in BROWSERS[host]]
)
def test_the_host_is_that_of_a_browser(host: str, address: str) -> None:
    assert host_of(address) == host
    assert host_of(host) == host


@pytest.mark.parametrize("address", NOWHERE, ids=ascii)
def test_a_host_that_is_none_for_a_browser_is_found_as_it_is_written(address: str) -> None:
    assert host_of(address) == NOWHERE[address]


@settings(max_examples=amount(66, 200), deadline=None)
@given(
    host=st.text(st.sampled_from("abx019.-_:%A\u00e9@[]/\\"), min_size=1, max_size=12),
    tail=st.sampled_from(["", "/", ":80/x", "?q", ":99999", "/a@b"]),
)
def test_what_needs_no_parser_is_read_as_the_parser_reads_it(host: str, tail: str) -> None:
    address = f"https://{host}{tail}"
    try:
        wanted = parse_url(address, ("hostname",))["hostname"]
    except ValueError:
        return
    wanted = wanted[1:-1] if wanted.startswith("[") else wanted.rstrip(".")
    assert host_of(address) in (wanted, wanted.removeprefix("www."))


def test_a_file_of_before_gets_the_hosts_of_a_browser(tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        one = ended("http://2130706433/")
    with_texts_twice(path)
    with opened(path) as file:  # as the version before had it
        file.execute("DROP VIEW latest_audit_of_each_site")
        file.execute("DELETE FROM veritas_migrations WHERE name >= '0008'")
        file.execute("UPDATE audits SET host = '2130706433'")
    with connect(path):
        for host in ("127.0.0.1", "http://127.1/", "2130706433"):
            assert [audit.id for audit in sync.history(host=host).items] == [one]
        assert verify().problems == []

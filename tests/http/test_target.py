"""What a request is aimed at; requests with hosts and targets of all kinds are in tests/e2e/test_bad_input.py."""

import pytest

from gateway.http.target import QUERY_FIELDS, is_authority, read_query, read_target


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("", []),
        ("a=1&b=&c&a=2", [("a", "1"), ("b", ""), ("c", ""), ("a", "2")]),
        ("a=%2B+%26&%3D=;", [("a", "+ &"), ("=", ";")]),
        ("a=%ff", [("a", "\ufffd")]),
        ("&".join(["a=1"] * QUERY_FIELDS), [("a", "1")] * QUERY_FIELDS),
        ("&".join(["a=1"] * (QUERY_FIELDS + 1)), [("", "")]),
        ("&" * 10_000, [("", "")]),
    ],
    ids=["none", "without values", "encoded", "not UTF-8", "as many as may be", "one more", "nothing often"],
)
def test_of_a_query_with_too_many_fields_none_is_read(raw: str, read: list[tuple[str, str]]) -> None:
    """What stands for it is no parameter of anything."""
    assert list(read_query(raw).items()) == read


@pytest.mark.parametrize(
    ("host", "sound"),
    [("", True), ("a.example:8080", True), ("[::1]:80", True), ("a:", True), ("a@b", False), ("a, b", False), ("[::1", False), ("a:b", False), ("a\n", False)],
)  # fmt: skip
def test_a_host_is_a_name_or_address_and_perhaps_a_port(host: str, *, sound: bool) -> None:
    assert is_authority(host) is sound


@pytest.mark.parametrize(
    ("raw", "hosts", "aimed"),
    [
        ("/a%2Fb?x=1?y#z", ["h:1"], ("h:1", "/a%2Fb", "x=1?y#z")),
        ("/a#b?c", ["h"], ("h", "/a", "c")),
        ("//h/a", ["h"], ("h", "//h/a", "")),
        ("HTTPS://there:8/a?x=1#z", ["h"], ("there:8", "/a", "x=1")),
        ("http://there", ["h"], ("there", "/", "")),
        ("http://there?x=1", [""], ("there", "/", "x=1")),
        ("http:///a", ["h"], (None, "/", "")),
        ("http://:80/a", ["h"], (None, "/", "")),
        ("http://me@there/a", ["h"], (None, "/", "")),
        ("http://there/a", ["h", "h"], (None, "/", "")),
        ("ftp://there/a", ["h"], (None, "/", "")),
        ("*", ["h"], (None, "/", "")),
        ("there:443", ["h"], (None, "/", "")),
        ("/a", ["h", "h"], (None, "/a", "")),
        ("/a", ["h, h"], (None, "/a", "")),
        ("/a", [], (None, "/a", "")),
    ],
)
def test_a_target_is_a_path_or_a_whole_address_which_then_says_the_host(
    raw: str, hosts: list[str], aimed: tuple[str | None, str, str]
) -> None:
    assert read_target(raw, hosts) == aimed


@pytest.mark.parametrize(("hosts", "host"), [([], ""), (["h"], "h"), (["h", "h"], None)])
def test_http_1_0_may_do_without_a_host(hosts: list[str], host: str | None) -> None:
    assert read_target("/a", hosts, http_1_0=True)[0] == host

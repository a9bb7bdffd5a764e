"""What the handler reads of a request before anybody else sees it."""

import pytest

from gateway.edge.handler import _QUERY_FIELDS, _is_authority, _query


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("", []),
        ("a=1&b=&c&a=2", [("a", "1"), ("b", ""), ("c", ""), ("a", "2")]),
        ("a=%2B+%26&%3D=;", [("a", "+ &"), ("=", ";")]),
        ("a=%ff", [("a", "\ufffd")]),
        ("&".join(["a=1"] * _QUERY_FIELDS), [("a", "1")] * _QUERY_FIELDS),
        ("&".join(["a=1"] * (_QUERY_FIELDS + 1)), [("", "")]),
        ("&" * 10_000, [("", "")]),
    ],
    ids=["none", "without values", "encoded", "not UTF-8", "as many as may be", "one more", "nothing often"],
)
def test_of_a_query_with_too_many_fields_none_is_read(raw: str, read: list[tuple[str, str]]) -> None:
    """What stands for it is no parameter of anything."""
    assert list(_query(raw).items()) == read


@pytest.mark.parametrize(
    ("host", "sound"),
    [("", True), ("a.example:8080", True), ("[::1]:80", True), ("a:", True), ("a@b", False), ("a, b", False), ("[::1", False), ("a:b", False), ("a\n", False)],
)  # fmt: skip
def test_a_host_is_a_name_or_address_and_perhaps_a_port(host: str, *, sound: bool) -> None:
    assert _is_authority(host) is sound

"""CORS is the same on every answer, and lets no page use a browser's own credentials."""

import pytest

from gateway.http.cors import preflight_headers, response_headers

APP = "https://app.example.com"


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((), None, None),
        ((), APP, None),
        ((APP,), None, None),
        ((APP,), APP, APP),
        (("https://App.Example.com",), APP, APP),
        (("https://app.example.com:443",), APP, APP),
        (("HTTP://intranet:80",), "http://intranet", "http://intranet"),
        (("https://app.example.com:80",), APP, None),
        ((APP,), "https://app.example.com.evil.example", None),
        ((APP,), "http://app.example.com", None),
        ((APP,), "https://app.example.com:8443", None),
        ((APP,), "null", None),
        ((APP, "https://other.example"), "https://other.example", "https://other.example"),
        (("*",), APP, "*"),
        (("*",), None, "*"),
        ((APP, "*"), "null", "*"),
    ],
)
def test_origin_is_allowed_when_it_is_listed(origins, origin, allowed):
    for fields in (response_headers(origins, origin), preflight_headers(origins, origin)):
        assert fields["Vary"] == "Origin"
        assert fields.get("Access-Control-Allow-Origin") == allowed
        assert "Access-Control-Allow-Credentials" not in fields
        assert allowed is not None or fields == {"Vary": "Origin"}


def test_answer_exposes_what_a_player_reads():
    exposed = response_headers((APP,), APP)["Access-Control-Expose-Headers"]
    assert exposed == "Content-Range, Accept-Ranges, Content-Length, ETag, Content-Disposition, Retry-After"


def test_preflight_allows_what_a_client_sends():
    fields = preflight_headers((APP,), APP, methods=("GET", "HEAD"), max_age_s=600)
    assert fields["Access-Control-Allow-Methods"] == "GET, HEAD"
    assert fields["Access-Control-Max-Age"] == "600"
    allowed = set(fields["Access-Control-Allow-Headers"].split(", "))
    assert allowed >= {"Authorization", "Range", "If-Range", "If-Match", "If-None-Match", "X-API-Key", "X-Tenant"}
    assert allowed >= {"X-Organization-Id", "Content-Type", "If-Modified-Since", "If-Unmodified-Since"}

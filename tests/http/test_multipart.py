"""The framing of multipart/byteranges, byte for byte."""

from gateway.http.multipart import frame, new_boundary
from gateway.model import Part, Span


def test_body_is_framed_as_the_rfc_shows_it():
    framed = frame([Span(500, 503), Span(0, 2)], 8000, "audio/wav", "THIS")
    assert framed.media_type == "multipart/byteranges; boundary=THIS"
    assert framed.parts == (
        Part(b"--THIS\r\nContent-Type: audio/wav\r\nContent-Range: bytes 500-502/8000\r\n\r\n", Span(500, 503)),
        Part(b"\r\n--THIS\r\nContent-Type: audio/wav\r\nContent-Range: bytes 0-1/8000\r\n\r\n", Span(0, 2)),
    )
    assert framed.tail == b"\r\n--THIS--\r\n"
    assert framed.length == sum(len(part.head) for part in framed.parts) + 3 + 2 + len(framed.tail)


def test_boundary_is_128_bits_in_token_characters_and_never_the_same():
    boundaries = {new_boundary() for _ in range(1000)}
    assert len(boundaries) == 1000
    assert all(len(boundary) == 32 and int(boundary, 16) >= 0 for boundary in boundaries)

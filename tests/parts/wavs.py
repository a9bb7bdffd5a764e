"""WAV objects of silence."""

import struct


def silence(seconds: float = 2, *, channels: int = 2, rate: int = 8000) -> bytes:
    """PCM of 16 bits, with a header that is right."""
    body = bytes(round(seconds * rate) * channels * 2)
    fmt = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    head = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(body))
    return b"RIFF" + struct.pack("<I", len(head) + len(body)) + head + body

"""Real files of every container and codec, made by ffmpeg."""

import subprocess
from pathlib import Path

TONE = ["-f", "lavfi", "-i", "sine=frequency=300:duration=31.7:sample_rate=48000"]
NOISE = ["-f", "lavfi", "-i", "anoisesrc=duration=31.7:sample_rate=48000:seed=1", "-ac", "2"]
PICTURE = ["-f", "lavfi", "-i", "testsrc=duration=31.7:size=64x48:rate=5"]
FRAGMENTED = ["-movflags", "frag_keyframe+empty_moov+default_base_moof"]

ENCODED: dict[str, list[str]] = {
    "pcm.wav": [*TONE, "-ar", "8000", "-ac", "2"],
    "pcm24.wav": [*TONE, "-c:a", "pcm_s24le"],
    "float.wav": [*TONE, "-ar", "16000", "-c:a", "pcm_f32le"],
    "mulaw.wav": [*TONE, "-ar", "8000", "-ac", "2", "-c:a", "pcm_mulaw"],
    "alaw.wav": [*TONE, "-ar", "8000", "-c:a", "pcm_alaw"],
    "rf64.wav": [*TONE, "-ar", "8000", "-rf64", "always"],
    "adpcm.wav": [*TONE, "-ar", "8000", "-c:a", "adpcm_ms"],
    "cbr.mp3": [*TONE, "-b:a", "64k"],
    "cbr-without-a-header.mp3": [*TONE, "-b:a", "64k", "-write_xing", "0"],
    "cbr-without-id3.mp3": [*TONE, "-b:a", "64k", "-write_xing", "0", "-id3v2_version", "0"],
    "vbr-stereo.mp3": [*TONE, "-q:a", "4", "-ac", "2"],
    "index-last.m4a": [*TONE, "-c:a", "aac", "-ac", "1"],
    "index-first.m4a": [*TONE, "-c:a", "aac", "-ac", "2", "-movflags", "+faststart"],
    "alac.m4a": [*TONE, "-c:a", "alac"],
    "opus.mp4": [*TONE, "-c:a", "libopus", "-ac", "2"],
    "video.mp4": [*TONE, *PICTURE, "-c:a", "aac", "-c:v", "libx264"],
    "fragmented.mp4": [*TONE, "-c:a", "aac", *FRAGMENTED],
    "opus.ogg": [*TONE, "-c:a", "libopus"],
    "vorbis.ogg": [*TONE, "-c:a", "libvorbis", "-ac", "2"],
    "noise.ogg": [*NOISE, "-c:a", "libvorbis", "-b:a", "192k"],
    "speex.ogg": [*TONE, "-c:a", "libspeex", "-ar", "8000"],
    "stereo.flac": [*TONE, "-ac", "2"],
    "audio.webm": [*TONE, "-c:a", "libopus", "-ac", "2"],
    "video.webm": [*TONE, *PICTURE, "-c:a", "libopus", "-c:v", "libvpx"],
    "aac.mka": [*TONE, "-c:a", "aac"],
}
STREAMED: dict[str, list[str]] = {
    "streamed.wav": [*TONE, "-ar", "8000", "-f", "wav"],
    "streamed.flac": [*TONE, "-f", "flac"],
    "streamed.webm": [*TONE, "-c:a", "libopus", "-ac", "2", "-f", "webm"],
}


def encode(folder: Path, name: str) -> Path:
    """The file of that name in ENCODED, or in STREAMED: written through a pipe, so that no size in it is known."""
    path = folder / name
    if not path.exists():
        command = ["ffmpeg", "-v", "error", "-nostdin", "-fflags", "+bitexact"]
        if name in ENCODED:
            subprocess.run([*command, *ENCODED[name], str(path)], check=True, timeout=60)
        else:
            with path.open("wb") as out:
                subprocess.run([*command, *STREAMED[name], "-"], check=True, timeout=60, stdout=out)
    return path

#!/bin/sh
# Players and servers that tests start by name, from Debian. Says what is missing; installs it where it may.
set -eu

missing=""
for pair in curl:curl wget:wget aria2c:aria2 ffmpeg:ffmpeg mpv:mpv chromium:chromium redis-server:redis-server; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    as_root="none"
fi
if [ "$as_root" = none ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "make test needs:$missing" >&2
    echo "Install them and run it again; on Debian or Ubuntu: sudo apt-get install$missing" >&2
    exit 1
fi

echo "Installing$missing with apt-get"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get -qq update
# shellcheck disable=SC2086 # a list of words
$as_root apt-get -qq install --yes --no-install-recommends $missing >/dev/null

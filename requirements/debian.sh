#!/bin/sh
# Programs from Debian that tests and benchmarks start by name. Says what is missing; installs it where it may.
#   debian.sh PURPOSE PROGRAM:PACKAGE...
set -eu

purpose=$1
shift
missing=""
for pair in "$@"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
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
    echo "$purpose needs:$missing" >&2
    echo "Install them and run it again; on Debian or Ubuntu: sudo apt-get install$missing" >&2
    exit 1
fi

echo "Installing$missing with apt-get"
export DEBIAN_FRONTEND=noninteractive
# Only their programs are wanted: what listens for everybody (Debian starts it on installing) stays off.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee /usr/sbin/policy-rc.d >/dev/null
    $as_root chmod 755 /usr/sbin/policy-rc.d
    trap '$as_root rm -f /usr/sbin/policy-rc.d' EXIT
fi
$as_root apt-get -qq update
# shellcheck disable=SC2086 # a list of words
$as_root apt-get -qq install --yes --no-install-recommends $missing >/dev/null

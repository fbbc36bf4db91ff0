#!/bin/sh
# Installs what the tests need beside npm's packages, where this is root on Debian; elsewhere says what is missing.
set -eu

missing=
need() { # PROGRAM PACKAGE
  PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need git git
need haproxy haproxy
need nginx nginx
need caddy caddy
need debootstrap debootstrap
need systemd-nspawn systemd-container
need sshd openssh-server
need ssh openssh-client
need ip iproute2
need rsync rsync
need python3 python3
need ruby ruby
need chromium chromium
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "bin/test: not installed here:$missing" >&2
  echo "bin/test: tests that need them are reported as skipped. On Debian, as root: apt-get install --no-install-recommends$missing" >&2
  exit 0
fi

echo "bin/test: installing Debian packages:$missing" >&2
# Packages may not start their services here: the tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } </dev/null >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "bin/test: apt-get could not install:$missing; tests that need them are reported as skipped" >&2
fi
rm -f "$log"

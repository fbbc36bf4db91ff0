/** What the script is told by the control plane that serves it. */
export interface InstallFacts {
  /** Where servers reach the control plane. */
  url: string
  /** With which the control plane signs: an agent that obeys another belongs to another. PEM. */
  controlKey: string
  /** SHA-256 of the agent's bundle, and of Node for each architecture. */
  bundle: string
  runtimes: { x64: string; arm64: string }
  /** The oldest major version of Node that the agent runs on. */
  minimumMajor: number
}

/**
 * The script that makes a machine a server: POSIX sh. It finds or gets Node and the agent, joins, and leaves a systemd
 * unit behind. Run again it changes only what differs. The token is given to one short-lived process, in its
 * environment. Directories are those of an agent that ssh started, so that neither brings what the other has brought.
 */
export function installScript({ url, controlKey, bundle, runtimes, minimumMajor }: InstallFacts): string {
  if (!/^https?:\/\/[A-Za-z0-9.:[\]-]+$/.test(url)) throw new Error('not an address that can stand in a script')
  // What stands between the lines of a PEM of Ed25519 is one line of base64.
  const key = /^[A-Za-z0-9+/=]{40,}$/m.exec(controlKey)?.[0]
  if (key === undefined) throw new Error('not a key that can stand in a script')
  return `#!/bin/sh
# Installs the dploy agent, or brings it to this version. What it does not change it leaves alone.
set -eu
umask 077

usage() {
  cat <<'TEXT'
install.sh [--token TOKEN] [--name NAME] [--url URL] [--proxy URL] [--new-key]
install.sh --uninstall
  --token    a join token (dploy token join), or in DPLOY_JOIN_TOKEN; needed the first time
  --name     name of this server; by default its hostname
  --url      address of the control plane; by default where this script came from
  --proxy    HTTP proxy to reach it by (CONNECT); by default HTTPS_PROXY
  --new-key  forget the key of this server and make another
TEXT
}

fail() {
  echo "dploy: $1" >&2
  if [ $# -gt 1 ]; then echo "  next: $2" >&2; fi
  exit 1
}

main() {
  url='${url}' bundle=${bundle} control_key='${key}'
  token=\${DPLOY_JOIN_TOKEN:-} name= proxy=\${HTTPS_PROXY:-\${https_proxy:-}} new_key= uninstall=
  unset DPLOY_JOIN_TOKEN
  while [ $# -gt 0 ]; do
    case $1 in
      --token|--name|--url|--proxy|--bundle) [ $# -ge 2 ] || fail "$1 needs a value";;
    esac
    case $1 in
      --token) token=$2; shift 2;;
      --name) name=$2; shift 2;;
      --url) url=\${2%/}; shift 2;;
      --proxy) proxy=$2; shift 2;;
      --bundle) bundle=$2; shift 2;;
      --new-key) new_key=1; shift;;
      --uninstall) uninstall=1; shift;;
      --help) usage; exit 0;;
      *) usage >&2; fail "unknown option $1";;
    esac
  done
  [ "$(id -u)" = 0 ] || fail "installing the agent needs root" "curl -fsSL $url/install.sh | sudo sh -s -- ..."
  command -v systemctl >/dev/null && [ -d /run/systemd/system ] || fail "this machine does not run systemd" "start the agent by what it has: dploy agent run"
  state=/var/lib/dploy unit=/etc/systemd/system/dploy-agent.service
  if [ -n "$uninstall" ]; then remove; exit 0; fi
  case $(uname -s)-$(uname -m) in
    Linux-x86_64) arch=x64 sum=${runtimes.x64};;
    Linux-aarch64) arch=arm64 sum=${runtimes.arm64};;
    *) fail "there is no agent for $(uname -s) $(uname -m)" "use x86-64 or arm64 with Linux";;
  esac
  if [ -n "$proxy" ]; then export https_proxy="$proxy" http_proxy="$proxy"; fi
  mkdir -p "$state/runtime" "$state/agent" "$state/cache"
  if [ ! -f "$state/identity.json" ] || [ -n "$new_key" ]; then
    [ -n "$token" ] || fail "this machine has not joined yet" "give it a join token: --token TOKEN (dploy token join)"
  fi
  if [ -f "$state/identity.json" ] && [ -z "$new_key" ] && ! grep -qF "$control_key" "$state/identity.json"; then
    fail "this machine belongs to another control plane, at $(sed -n 's/.*"control":"\\([^"]*\\)".*/\\1/p' "$state/identity.json")" "if it is to belong to this one, on it: curl -fsSL $url/install.sh | sudo sh -s -- --new-key --token TOKEN (dploy token join)"
  fi
  find_node
  find_agent
  if [ -n "$new_key" ]; then
    systemctl stop dploy-agent 2>/dev/null || true
    rm -f "$state/identity.json" "$state/agent-key.pem"
  fi
  if [ ! -f "$state/identity.json" ]; then
    DPLOY_JOIN_TOKEN=$token HTTPS_PROXY=$proxy "$node" "$state/agent/$bundle.mjs" join --state "$state" --join "$url" \${name:+--name "$name"} </dev/null || exit 1
  fi
  token=
  write_unit
  echo "dploy: the agent runs; see: systemctl status dploy-agent"
}

remove() {
  systemctl disable --now --quiet dploy-agent 2>/dev/null || true
  rm -f "$unit"
  systemctl daemon-reload
  rm -rf "$state/identity.json" "$state/agent-key.pem" "$state/agent" "$state/runtime" "$state/cache"
  echo "dploy: the agent is gone; applications run on, and their releases stay. Forget the server: dploy server remove"
}

# Node: this machine's own if it is new enough, else one of ours that is kept, else downloaded from the control plane.
find_node() {
  node=$state/runtime/node-$sum
  own=$(command -v node || true)
  if [ -n "$own" ]; then
    version=$("$own" --version 2>/dev/null || echo v0)
    version=\${version#v}
    if [ "\${version%%.*}" -ge ${minimumMajor} ] 2>/dev/null; then node=$own; return; fi
  fi
  [ -x "$node" ] || get "$url/agents/runtime/linux-$arch.gz" "$node" "$sum" unzip
  "$node" --version >/dev/null 2>&1 || fail "Node does not run here" "it needs glibc 2.28 or newer"
}

find_agent() {
  [ -s "$state/agent/$bundle.mjs" ] || get "$url/agents/bundle/$bundle.mjs" "$state/agent/$bundle.mjs" "$bundle"
  if [ "$(readlink "$state/agent/current.mjs" 2>/dev/null)" != "$bundle.mjs" ]; then
    rm -f "$state/agent/next"
    ln -s "$bundle.mjs" "$state/agent/next"
    mv -fT "$state/agent/next" "$state/agent/current.mjs"
    changed=1
  fi
}

# get URL FILE SHA256 [unzip]
get() {
  part=$2.part.$$
  trap 'rm -f "$part" "$part.gz"' EXIT
  if command -v curl >/dev/null; then curl -fsSL --connect-timeout 10 --max-time 600 -o "$part.gz" "$1" || fail "$1 cannot be downloaded"
  elif command -v wget >/dev/null; then wget -q -T 60 -O "$part.gz" "$1" || fail "$1 cannot be downloaded"
  else fail "there is neither curl nor wget on this machine" "install one, or from your own machine: dploy server add"
  fi
  if [ "\${4:-}" = unzip ]; then gzip -dc "$part.gz" >"$part"; rm -f "$part.gz"; else mv -f "$part.gz" "$part"; fi
  got=$(sha256sum <"$part")
  [ "\${got%% *}" = "$3" ] || fail "what $1 sent does not have the digest that it should have"
  chmod 755 "$part"
  sync "$part" 2>/dev/null || true
  mv -f "$part" "$2"
  trap - EXIT
}

write_unit() {
  cat >"$unit.new" <<TEXT
# Written by dploy; changes are overwritten. Your own go into: systemctl edit dploy-agent
[Unit]
Description=dploy agent
Documentation=$url
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=$node $state/agent/current.mjs run --state $state
Environment=NODE_COMPILE_CACHE=$state/cache
Restart=always
RestartSec=1
# What the agent started runs on when the agent is started again.
KillMode=process
LimitNOFILE=65536
# It writes units and releases, runs commands as any user, and looks at processes and ports. What it never does:
CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_BOOT CAP_SYS_TIME CAP_SYS_RAWIO CAP_SYSLOG CAP_MAC_ADMIN CAP_MAC_OVERRIDE CAP_AUDIT_CONTROL CAP_AUDIT_READ CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_SYS_PACCT CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LINUX_IMMUTABLE CAP_LEASE CAP_BPF CAP_PERFMON
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictNamespaces=yes
SystemCallArchitectures=native
SystemCallFilter=~@clock @module @raw-io @reboot @swap @obsolete @cpu-emulation
SystemCallErrorNumber=EPERM
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
DevicePolicy=closed
DeviceAllow=char-pts rw

[Install]
WantedBy=multi-user.target
TEXT
  chmod 644 "$unit.new"
  if cmp -s "$unit.new" "$unit"; then rm -f "$unit.new"; else mv -f "$unit.new" "$unit"; systemctl daemon-reload; changed=1; fi
  systemctl enable --quiet dploy-agent
  if [ -n "\${changed:-}" ] || [ -n "$new_key" ]; then systemctl restart dploy-agent; else systemctl start dploy-agent; fi
}

# Whole before anything runs: a download that was cut off does nothing.
main "$@"
`
}

# Sourced by the commands in bin/: dploy_setup ROOT installs the packages of the lock file when they are not those of
# the lock file yet, and sets DPLOY_NODE to the Node that the project runs on.

dploy_setup() {
  dploy_root=$1
  dploy_stamp=$dploy_root/node_modules/.dploy-lock
  # Packages that are a link belong to another checkout, whose own lock file says what they are.
  # A stamp of the very time of the lock file was compared with it.
  if [ ! -L "$dploy_root/node_modules" ] && { [ ! -f "$dploy_stamp" ] || [ "$dploy_stamp" -nt "$dploy_root/package-lock.json" ] || [ "$dploy_stamp" -ot "$dploy_root/package-lock.json" ]; } &&
    ! { cmp -s "$dploy_root/package-lock.json" "$dploy_stamp" && { touch -r "$dploy_root/package-lock.json" "$dploy_stamp" 2>/dev/null || :; }; }; then
    command -v npm >/dev/null 2>&1 || { echo "dploy: npm is not installed. Install Node.js (any version) with npm, then run this again." >&2; return 1; }
    echo "dploy: installing npm packages (once)…" >&2
    # Several commands may be started at once in a fresh checkout: one of them installs.
    dploy_lock=$dploy_root/.setup-lock
    dploy_waited=0
    until mkdir "$dploy_lock" 2>/dev/null; do
      dploy_owner=$(cat "$dploy_lock/pid" 2>/dev/null || true)
      if [ -n "$dploy_owner" ] && ! kill -0 "$dploy_owner" 2>/dev/null; then rm -rf "$dploy_lock"; continue; fi
      dploy_waited=$((dploy_waited + 1))
      [ "$dploy_waited" -le 300 ] || { echo "dploy: another installation holds $dploy_lock; remove it if none runs." >&2; return 1; }
      sleep 1
    done
    echo $$ >"$dploy_lock/pid"
    trap 'rm -rf "$dploy_lock"' EXIT
    trap 'exit 130' INT TERM
    if ! cmp -s "$dploy_root/package-lock.json" "$dploy_stamp"; then
      # No install scripts: nothing here needs one, and newer npm versions ask before they run any.
      (cd "$dploy_root" && npm ci --ignore-scripts --no-audit --no-fund --prefer-offline --loglevel=error >&2) || {
        echo "dploy: npm ci failed in $dploy_root. Check the network and the npm registry, then run this again." >&2
        return 1
      }
      cp "$dploy_root/package-lock.json" "$dploy_stamp"
      touch -r "$dploy_root/package-lock.json" "$dploy_stamp" || :
    fi
    rm -rf "$dploy_lock"
    trap - EXIT INT TERM
  fi
  DPLOY_NODE=$dploy_root/node_modules/.bin/node
  [ -x "$DPLOY_NODE" ] || DPLOY_NODE=$(command -v node || true)
  # The one of the packages is new enough: to ask it would take as long as to start.
  if [ "$DPLOY_NODE" != "$dploy_root/node_modules/.bin/node" ]; then
    dploy_major=$("$DPLOY_NODE" -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
  else
    dploy_major=24
  fi
  if [ "$dploy_major" -lt 24 ]; then
    echo "dploy: needs Node 24 or newer. On this platform none comes with the packages: install it, then run this again." >&2
    return 1
  fi
  export DPLOY_NODE
}

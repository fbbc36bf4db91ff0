/**
 * What runs on a server before its agent does: POSIX sh, the same text for everybody, given to ssh as one argument. What
 * differs from server to server comes as positional parameters. Neither script may contain a single quote (they travel
 * in single quotes, whatever the login shell is) nor a backslash (fish takes it for an escape even there).
 *
 * The conversation over standard input and output is in lines that begin with `dploy`:
 *
 *     dploy sudo WHY                               sudo was refused, with sudo's own words
 *     dploy need runtime|agent ARCH LIBC TOOL      answered by `send BYTES` and as many bytes of gzip, or `fetch URL`
 *     dploy wrong runtime|agent                    what came does not have the digest it should have
 *     dploy stop REASON …                          nothing can be done here
 *     dploy ready STATE USER ACCESS                from here on: frames of the agent
 */

/** As root directly, else by sudo, else as the user. `$1` is the script below, the rest are its parameters. */
export const accessScript = `
script=$1
shift
who=$(id)
who=\${who%% *}
dploy_user=\${who#*"("}
dploy_user=\${dploy_user%")"}
case $who in
  "uid=0" | "uid=0("*) set -- root "$@"; eval "$script"; exit;;
esac
if why=$(sudo -n sh -c : 2>&1 </dev/null); then exec sudo -n sh -c "$script" dploy sudo "$@"; fi
echo dploy sudo $why
export DPLOY_SUDO_SAID="$why"
set -- user "$@"
eval "$script"
`

/**
 * Finds or gets the runtime and the agent, and becomes the agent. Parameters: root|sudo|user, SHA-256 of the agent's
 * bundle, SHA-256 of Node for x64 and for arm64, the major version of Node that the agent needs at least.
 */
export const placeScript = `
umask 077
access=$1 agent=$2 x64=$3 arm64=$4 least=$5
case $(uname -sm) in
  "Linux x86_64") arch=x64 sum=$x64;;
  "Linux aarch64") arch=arm64 sum=$arm64;;
  *) echo dploy stop architecture $(uname -sm); exit 0;;
esac
if [ $access = user ]; then state=$HOME/.dploy; else state=/var/lib/dploy; fi
[ -d "$state/runtime" ] && [ -d "$state/agent" ] || mkdir -p "$state/runtime" "$state/agent" || { echo dploy stop state "$state"; exit 0; }
kept=$state/runtime/node-$sum
bundle=$state/agent/$agent.mjs
part=
clean() { rm -f "$part"; }
node=
if own=$(command -v node); then
  version=$("$own" --version 2>/dev/null)
  version=\${version#v}
  if [ "\${version%%.*}" -ge $least ] 2>/dev/null; then node=$own; fi
fi
while :; do
  if [ -z "$node" ] && [ -x "$kept" ]; then node=$kept; fi
  if [ -z "$node" ]; then what=runtime file=$kept wanted=$sum
  elif [ ! -s "$bundle" ]; then what=agent file=$bundle wanted=$agent
  else break; fi
  libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || libc="none 0"
  tool=none
  if command -v wget >/dev/null; then tool=wget; fi
  if command -v curl >/dev/null; then tool=curl; fi
  echo dploy need $what $arch \${libc#* } $tool
  # What comes before is the first frame for the agent, which comes again.
  while :; do
    read -r answer value || exit 0
    case $answer in send|fetch) break;; esac
  done
  part=$file.part.$$
  trap clean EXIT
  case $answer in
    send) head -c "$value" | gzip -dc >"$part";;
    fetch)
      if [ $tool = curl ]; then curl -fsSL --connect-timeout 3 --max-time 300 "$value"; else wget -qO- -T 5 -t 1 "$value"; fi |
        tar -xzO --wildcards "*/bin/node" >"$part";;
  esac
  got=$(sha256sum <"$part")
  if [ "\${got%% *}" = "$wanted" ]; then
    chmod 755 "$part"
    sync "$part" 2>/dev/null
    mv -f "$part" "$file"
    if [ $what = agent ]; then find "$state/agent" -name "*.mjs" -mtime +60 -exec rm -f {} +; fi
  else
    rm -f "$part"
    echo dploy wrong $what
    # The rest of what is sent is not to be taken for words.
    if [ $answer = send ]; then exit 0; fi
  fi
  trap - EXIT
done
echo dploy ready "$state" "\${dploy_user:-$(id -un)}" $access
NODE_COMPILE_CACHE=$state/cache exec "$node" --v8-pool-size=1 --min-semi-space-size=16 --max-semi-space-size=32 "$bundle" stdio --state "$state" --access $access
`

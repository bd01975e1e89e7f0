#!/bin/sh
# From a bare Debian machine with Node to where TypeScript can take over: system packages and npm
# packages. Every step looks at what is there first. Sourced by run.sh.

step_begin() {
  step_name=$1 step_start=$(date +%s)
  if [ -t 1 ]; then printf '  .. %s' "$step_name"; fi
}
step_end() {
  if [ -t 1 ]; then printf '\r\033[K'; fi
  printf '  ok %s (%s s)\n' "$step_name" "$(($(date +%s) - step_start))"
}
step_fail() {
  if [ -t 1 ]; then printf '\r\033[K'; fi
  printf '  !! %s: %s\n     %s\n' "$step_name" "$1" "$2" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

check_node() {
  step_begin "Node.js"
  command -v node >/dev/null || step_fail "not installed" "Install Node.js 20 or newer (Debian bookworm's own is 18), then run this again."
  major=$(node -p 'process.versions.node.split(".")[0]')
  [ "$major" -ge 20 ] || step_fail "$(node -v) is too old" "Install Node.js 20 or newer, then run this again."
}

missing_packages() {
  wanted=$(grep -v '^#' "$code/setup/packages.txt")
  if [ "${verb:-}" = test ]; then wanted="$wanted $(grep -v '^#' "$code/setup/packages-test.txt")"; fi
  command -v go >/dev/null || [ -x /usr/lib/go/bin/go ] || wanted="$wanted golang-go"
  for package in $wanted; do
    # docker-ce is a dockerd too, and the two conflict.
    if [ "$package" = docker.io ] && command -v dockerd >/dev/null; then continue; fi
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=absent
    [ "$status" = installed ] || printf '%s ' "$package"
  done
}

# policy-rc.d keeps services of new packages from starting; one that was there before comes back.
policy=/usr/sbin/policy-rc.d
hold_services() {
  if as_root test -e "$policy" && ! as_root grep -q 'flipflap holds services' "$policy"; then as_root mv "$policy" "$policy.before-flipflap"; fi
  printf '#!/bin/sh\n# flipflap holds services back while it installs packages\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod 755 "$policy"
}
release_services() {
  as_root rm -f "$policy"
  if as_root test -e "$policy.before-flipflap"; then as_root mv "$policy.before-flipflap" "$policy"; fi
}

# Units of what we installed would start at the next boot; the lab starts its own, a real server has its own.
disable_units() {
  command -v systemctl >/dev/null || return 0
  for package in "$@"; do
    for unit in $(dpkg -L "$package" | sed -n 's#.*/systemd/system/\([^/@]*\.\(service\|socket\)\)$#\1#p'); do
      as_root systemctl disable --quiet "$unit" 2>/dev/null || printf '     note: %s stays enabled\n' "$unit"
    done
  done
}

# What apt was asked for is noted before it runs: a run that is cut off leaves units to disable to the next.
disable_noted_units() {
  noted=$code/.flipflap/installing
  [ -e "$noted" ] || return 0
  for package in $(cat "$noted"); do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=absent
    if [ "$status" = installed ]; then disable_units "$package"; fi
  done
  rm -f "$noted"
}

system_packages() {
  if as_root test -e "$policy" && as_root grep -q 'flipflap holds services' "$policy"; then release_services; fi
  disable_noted_units
  packages=$(missing_packages)
  [ -n "$packages" ] || return 0
  step_begin "system packages: $packages"
  [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || step_fail "root's rights are needed" "Run as root, or give this user passwordless sudo."
  mkdir -p "$code/.flipflap/logs"
  log=$code/.flipflap/logs/packages.log
  trap release_services EXIT INT TERM
  hold_services
  # shellcheck disable=SC2086 # one word a package
  apt_install() { as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@" install -y --no-remove --no-install-recommends $packages; }
  # Noted with all that they bring along, but not what is only upgraded.
  if ! { as_root apt-get update -q && apt_install -s >"$log.plan" && sed -n 's/^Inst \([^ ]*\) (.*/\1/p' "$log.plan" >"$code/.flipflap/installing" && apt_install -q; } >"$log" 2>&1; then
    step_fail "apt-get failed: $(grep -m1 '^E:' "$log")" "See $log; mend apt's sources or the network, then run this again."
  fi
  release_services
  trap - EXIT INT TERM
  disable_noted_units
  step_end
}

npm_packages() {
  lock=$(sha256sum <"$code/package-lock.json")
  [ "$(cat "$code/node_modules/.flipflap-lock" 2>/dev/null)" != "$lock" ] || return 0
  step_begin "npm packages"
  mkdir -p "$code/.flipflap/logs"
  log=$code/.flipflap/logs/npm.log
  if ! (cd "$code" && npm ci --ignore-scripts --no-audit --no-fund) >"$log" 2>&1; then
    step_fail "npm ci failed: $(grep -m1 'npm error' "$log")" "See $log; mend the registry or the network, then run this again."
  fi
  printf '%s\n' "$lock" >"$code/node_modules/.flipflap-lock"
  step_end
}

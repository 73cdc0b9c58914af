#!/usr/bin/env bash
# Installs what building and running Millrace needs and this Debian (or a relative of it) does not have yet: says what
# and why, leaves the rest alone. Can be run again at any time, after a killed run too. Needs root or sudo only when
# something is missing. Swift is not among Debian's packages: it must be on the PATH.
#
#   scripts/install-dependencies.sh [--check]      --check: only say what is missing, and fail if anything is
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

check_only=false
case ${1:-} in
  '') ;;
  --check) check_only=true ;;
  *) die "unknown option '$1'" "the only option is --check" ;;
esac

# --- What is missing -------------------------------------------------------------------------------------------------

packages=()

# A package that a killed installation left unpacked, but not configured.
is_unfinished() { dpkg-query --show --showformat='${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^i[UFHW]'; }

# need PACKAGE WHY TEST…: PACKAGE is missing when the command TEST fails.
need() {
  local package=$1 why=$2
  shift 2
  if ! "$@" >/dev/null 2>&1 || is_unfinished "$package"; then
    packages+=("$package")
    printf '    %-28s %s\n' "$package" "$why" >&2
  fi
}

has_header() {
  local directory
  for directory in /usr/include '/usr/include/*-linux-gnu' /usr/local/include; do
    ! compgen -G "$directory/$1" || return 0
  done
  return 1
}
has_python_module() { /usr/bin/python3 -c "import $1" || python3 -c "import $1"; }
has_perl_module() { perl "-M$1" -e 1; }

# The newest server that is installed, else the version that the distribution takes for its own; nothing when apt has
# no lists of packages yet.
server_version() {
  local directory version
  for directory in $(server_directories); do
    version=$(cut -d/ -f5 <<<"$directory")
    [[ $version =~ ^[0-9]+$ ]] && [ "$version" -ge "$oldest_postgres" ] && echo "$version" && return
  done
  { apt-cache depends postgresql 2>/dev/null || true; } |
    sed -n -E 's/^ *Depends: postgresql-([0-9]+)$/\1/p' | head -n 1
}

has_server() { find_pg_config || [ -x "/usr/lib/postgresql/$1/bin/postgres" ]; }

list_missing() {
  packages=()
  need gcc "compiles the extension; Swift links with it" command -v cc
  need libc6-dev "C headers" has_header stdio.h
  need g++ "C++ headers, for Swift's packages" has_header 'c++/*/vector'
  need make "drives the build" command -v make
  need git "fetches Swift's packages" command -v git
  need ca-certificates "fetches them over TLS" test -e /etc/ssl/certs/ca-certificates.crt
  need pkg-config "tells Swift where libpq is" command -v pkg-config
  need libpq-dev "the PostgreSQL client library" has_header 'postgresql/libpq-fe.h'
  need libssl-dev "checksums" has_header openssl/evp.h
  need libroaring-dev "compressed bitmaps" has_header roaring/roaring.h
  need zlib1g-dev "compression in Swift's HTTP packages" has_header zlib.h
  need gzip "reads compressed workflow files" command -v gzip
  need python3 "runs the example workflow's steps" command -v python3
  need python3-psycopg "runs the example of an agent in Python" has_python_module psycopg
  need python3-jsonschema "compares definitions with their schema" has_python_module jsonschema
  need graphviz "draws workflows as pictures" command -v dot
  need libipc-run-perl "drives the restart, crash and dump tests" has_perl_module IPC::Run
  local version
  version=$(server_version)
  if [ -z "$version" ]; then
    need postgresql "the database server, and headers to build the extension" find_pg_config
    return
  fi
  [ "$version" -ge "$oldest_postgres" ] ||
    die "this system's PostgreSQL is version $version; Millrace needs $oldest_postgres or newer" \
      "install a newer one (https://www.postgresql.org/download/linux/), then try again"
  need "postgresql-$version" "the database server" has_server "$version"
  need "postgresql-server-dev-$version" "headers to build the extension" find_pg_config
}

swift_version() { swift --version 2>/dev/null | sed -n -E 's/.*Swift version ([0-9]+\.[0-9.]+).*/\1/p'; }

require_swift() {
  command -v swift >/dev/null ||
    die "swift is not on the PATH" "install Swift 6.1 or newer (https://www.swift.org/install/linux/)"
  local version
  version=$(swift_version)
  [ "$(printf '6.1\n%s\n' "$version" | sort --version-sort | head -n 1)" = 6.1 ] ||
    die "Swift $version is too old" "install Swift 6.1 or newer (https://www.swift.org/install/linux/)"
}

# --- Installing it ---------------------------------------------------------------------------------------------------

readonly lock_words='could not get lock|unable to (acquire|lock)|lock.* (was|is) locked'

# patiently COMMAND…: as root, and again for up to ten minutes while another process holds the package manager's lock.
patiently() {
  local log deadline=$((SECONDS + 600)) status=0
  log=$(mktemp)
  until as_root env DEBIAN_FRONTEND=noninteractive "$@" >"$log" 2>&1 </dev/null; do
    if ! grep -q -i -E "$lock_words" "$log" || [ "$SECONDS" -ge "$deadline" ]; then
      status=1
      tail -n 30 "$log" >&2
      break
    fi
    say "another process holds the package manager's lock: waiting"
    sleep 5
  done
  rm -f "$log"
  return "$status"
}

# Debian's server package makes and starts a cluster of its own. Nobody asked for that here: Millrace brings up its
# own, so it is told not to while this script installs it.
readonly no_cluster=/etc/postgresql-common/createcluster.d/millrace-installation.conf

forbid_cluster() {
  as_root install -d "$(dirname "$no_cluster")"
  echo 'create_main_cluster = false' | as_root tee "$no_cluster" >/dev/null
}
allow_cluster() {
  as_root rm -f "$no_cluster"
  as_root rmdir --ignore-fail-on-non-empty -p "$(dirname "$no_cluster")" 2>/dev/null || true
}

# An installation that was killed half-way leaves packages unpacked but not configured, and apt-get refuses to go on.
# Fails when there was nothing to finish.
finish_interrupted() {
  [ -n "$(ls -A /var/lib/dpkg/updates 2>/dev/null)" ] || [ -n "$(dpkg --audit)" ] || return 1
  say "finishing an interrupted installation of packages"
  patiently dpkg --configure -a || patiently apt-get install --fix-broken --yes
}

fetch_lists() {
  say "fetching the lists of packages"
  patiently apt-get update || die "the lists of packages could not be fetched" "read apt-get's words above"
  lists_are_fresh=true
}

# Fetches the lists only when apt does not know what it is to install. Fails when it does.
fetch_unknown() {
  [ "$(apt-cache policy "${packages[@]}" 2>/dev/null | grep -c 'Candidate: [0-9]')" -ne ${#packages[@]} ] || return 1
  fetch_lists
}

install_packages() { patiently apt-get install --yes --no-install-recommends "${packages[@]}"; }

require_swift
say "looking for what Millrace needs"
list_missing
if [ ${#packages[@]} -eq 0 ]; then
  say "everything is there: Swift $(swift_version), $("$(find_pg_config)" --version)"
  exit 0
fi
if $check_only; then
  die "${#packages[@]} packages are missing" "run 'make dependencies'"
fi
command -v apt-get >/dev/null ||
  die "what is listed above is missing, and this is no Debian" "install its counterparts, then try again"

trap allow_cluster EXIT
forbid_cluster
lists_are_fresh=false
changed=false
! finish_interrupted || changed=true
! fetch_unknown || changed=true
if $changed; then
  say "still missing"
  list_missing
fi
[ -n "$(server_version)" ] || die "apt knows no package 'postgresql'" "add Debian's main archive to apt's sources"
if [ ${#packages[@]} -gt 0 ]; then
  say "installing ${packages[*]}"
  if ! install_packages; then
    ! $lists_are_fresh || die "the packages could not be installed" "read apt-get's words above"
    fetch_lists
    install_packages || die "the packages could not be installed" "read apt-get's words above"
  fi
fi
require_pg_config >/dev/null
say "everything is there now"

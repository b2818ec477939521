#!/usr/bin/env bash
# Build the images of this repo: the one entry point for building. docker-bake.hcl says which there are.
# Runs on Linux and on macOS (bash 3.2), from any folder.
set -Eeuo pipefail

usage() {
  cat <<'USAGE'
Usage: ./build-all.sh [option...] [chapter...]

Builds all chapters, or the ones you name (ch03, ch04-multistage, ...).

  --install-engine     on a bare Debian or Ubuntu machine, as root: install and start a Docker engine;
                       does nothing where one answers
  --offline            do not ask Docker Hub; base images that are missing here become stand-ins
  --no-cache           build every step anew
  --clean              remove the images that this repo built, stand-ins too, and nothing else
  --save-bases FILE    write all base images to FILE, to carry them to other machines
  --load-bases FILE    read base images from such a file; what is here already stays as it is
  --help               this text

Settings from the environment: REGISTRY (a prefix for image names), REVISION and CREATED (labels),
DEBIAN_MIRROR (where stand-ins get their packages if this machine does not run Debian).
USAGE
}

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
misuse() { printf 'error: %s\nTry ./build-all.sh --help\n' "$*" >&2; exit 2; }

# --- the engine -----------------------------------------------------------------------------------

# Why no engine can be used, as one sentence with its remedy; prints nothing when all is well.
engine_trouble() {
  local answer version
  command -v docker > /dev/null || {
    say "There is no docker command on this machine. Install Docker Desktop (macOS, Windows) or Docker Engine (Linux);" \
      "on a bare Debian or Ubuntu machine, as root: ./build-all.sh --install-engine"
    return
  }
  if ! answer="$(docker version --format '{{.Server.Version}}' 2>&1)"; then
    case "$answer" in
      *"ermission denied"*)
        say "You may not talk to the Docker engine (permission denied on its socket)." \
          "Join its group with: sudo usermod -aG docker \"\$USER\", then log out and in again." ;;
      *)
        say "No Docker engine answers${DOCKER_HOST:+ at $DOCKER_HOST}. Start Docker Desktop, or on Linux: sudo systemctl start docker." \
          "A bare Debian or Ubuntu machine, as root: ./build-all.sh --install-engine" ;;
    esac
    return
  fi
  version="${answer##*$'\n'}"
  if [ "${version%%.*}" -lt 23 ] 2> /dev/null; then
    say "This Docker engine is version $version; the Dockerfiles here need 23 or newer. Update Docker."
  elif ! docker buildx version > /dev/null 2>&1; then
    say "Docker's buildx plugin is missing. Install the package docker-buildx-plugin (Docker's own) or docker-buildx (Debian's, Ubuntu's)."
  fi
}

# Install an engine with the system's packages, unless dockerd is there, and start it.
# ENGINE_ROOT=FOLDER, with DOCKER_HOST=unix://..., starts one with a data root, a process id file
# and a bridge of its own, beside any other: .ci/run uses that.
install_engine() {
  local engine_trouble_text
  [ -n "$(engine_trouble)" ] || { say "A Docker engine answers already: nothing to install."; return; }
  [ "$(id -u)" = 0 ] || fail "--install-engine installs packages, so it must run as root: sudo ./build-all.sh --install-engine"
  local distribution='' release=''
  distribution="$(sed -n 's/^ID=//p' /etc/os-release 2> /dev/null | tr -d '"')"
  release="$(sed -n 's/^VERSION_ID=//p' /etc/os-release 2> /dev/null | tr -d '"')"
  if ! { command -v dockerd && docker buildx version; } > /dev/null 2>&1; then
    say "Installing a Docker engine (packages of $distribution) ..."
    apt_log="$scratch/apt.log"
    case "$distribution" in
      debian) install_on_debian "$release" ;;
      ubuntu) apt_install docker.io docker-buildx docker-compose-v2 ;;
      *) fail "--install-engine knows Debian and Ubuntu only. Install Docker as docs.docker.com/engine/install says for your system." ;;
    esac
  fi
  start_engine
  engine_trouble_text="$(engine_trouble)"
  [ -z "$engine_trouble_text" ] || fail "$engine_trouble_text"
  say "Docker engine $(docker version --format '{{.Server.Version}}') runs."
}

apt_install() {
  { DEBIAN_FRONTEND=noninteractive apt-get update -q &&
    DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "$@"; } > "$apt_log" 2>&1 ||
    { tail -n 15 "$apt_log" >&2; fail "apt-get could not install the engine; its last lines are above."; }
}

install_on_debian() {
  local mirror options=''
  # Debian 12 has an engine from 2020 without buildx; Debian 13's packages install on it. Pinned low,
  # so that nothing else of the machine moves to Debian 13.
  if [ "${1%%.*}" -lt 13 ] 2> /dev/null; then
    mirror="$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null |
      sed -n 's#^[^\#]*\(https\{0,1\}://[^ ]*/debian\)/\{0,1\}\( .*\)\{0,1\}$#\1#p' | head -n 1)" || true  # cat complains of an empty folder
    [ -n "$mirror" ] || fail "This machine's apt names no Debian mirror, so there is nowhere to install an engine from."
    printf 'Types: deb\nURIs: %s\nSuites: trixie\nComponents: main\nSigned-By: %s\n' "$mirror" \
      /usr/share/keyrings/debian-archive-keyring.gpg > /etc/apt/sources.list.d/docker-from-trixie.sources
    printf 'Package: *\nPin: release n=trixie\nPin-Priority: 100\n' > /etc/apt/preferences.d/docker-from-trixie
    options='-ttrixie'
  fi
  apt_install ${options:+"$options"} docker.io docker-cli docker-buildx docker-compose iptables iproute2
}

start_engine() {
  local log waited=0
  if [ -z "${ENGINE_ROOT:-}" ] && [ -d /run/systemd/system ]; then
    systemctl start docker || fail "systemd could not start Docker: see journalctl -u docker"
  elif [ -z "${ENGINE_ROOT:-}" ]; then
    log=/var/log/dockerd.log
    setsid dockerd > "$log" 2>&1 < /dev/null &
  else
    log="$ENGINE_ROOT/dockerd.log"
    # An address of its own: otherwise the bridge takes over one of its containers', and a new one when that
    # container goes. What the others have open then, such as Maven's downloads, loses its way for minutes.
    ip link show multistage0 > /dev/null 2>&1 || ip link add name multistage0 address 02:42:0a:d5:0d:01 type bridge
    ip addr replace 10.213.13.1/24 dev multistage0
    ip link set multistage0 up
    setsid dockerd --data-root "$ENGINE_ROOT/data" --exec-root "$ENGINE_ROOT/exec" \
      --pidfile "$ENGINE_ROOT/docker.pid" --bridge multistage0 -H "$DOCKER_HOST" > "$log" 2>&1 < /dev/null &
  fi
  until docker version > /dev/null 2>&1; do
    waited=$((waited + 1))
    [ "$waited" -le 300 ] || { tail -n 15 "${log:-/dev/null}" >&2; fail "The Docker engine did not start within a minute; its last lines are above."; }
    sleep 0.2
  done
}

# --- what is to be built --------------------------------------------------------------------------

# Print bake's plan for groups or targets, a line each: target, tag ("-" if it has none), Dockerfile.
plan() {
  docker buildx bake -f docker-bake.hcl --print "$@" 2> "$scratch/plan.err" | awk '
    function flush() { if (target != "") print target "\t" tag "\t" context "/" file; target = "" }
    /^  "target": \{/ { targets = 1 }
    targets && /^    "[^"]+": \{/ { flush(); split($0, part, "\""); target = part[2]; context = "."; file = "Dockerfile"; tag = "-" }
    targets && /^      "context":/ { split($0, part, "\""); context = part[4] }
    targets && /^      "dockerfile":/ { split($0, part, "\""); file = part[4] }
    targets && /^      "tags":/ { getline; split($0, part, "\""); tag = part[2] }
    END { flush() }
  ' || { cat "$scratch/plan.err" >&2; fail "docker-bake.hcl could not be read; bake's words are above."; }
}

# The chapter groups of docker-bake.hcl: ch03 ch04 ...
chapters() { sed -n 's/^group "\(ch[0-9]*\)".*/\1/p' docker-bake.hcl; }

image_id() { docker image inspect --format '{{.Id}}' "$1" 2> /dev/null; }
# has_label IMAGE LABEL: does the image carry the label, with its own name as value?
has_label() { [ "$(docker image inspect --format "{{index .Config.Labels \"$2\"}}" "$1" 2> /dev/null)" = "${3:-$1}" ]; }

# --- base images ----------------------------------------------------------------------------------

# Print the base images that the planned Dockerfiles name, of those that we know (group "bases").
bases_needed() {
  local target base dockerfile
  plan bases > "$scratch/bases"
  # shellcheck disable=SC2034 # target is read only to get past it
  while IFS=$'\t' read -r target base dockerfile; do
    if cut -f 3 "$scratch/targets" | sort -u | tr '\n' '\0' |
      xargs -0 grep -qE "(^FROM +(--platform=[^ ]+ +)?|--from=|,from=)$base( |,|$)"; then
      say "$base"
    fi
  done < "$scratch/bases"
}

# Pull one image. The limit is on the time to the registry's first word, not on the download.
# On failure, prints why and returns 1.
pull() {
  local log="$scratch/pull.log" pid waited=0
  docker pull "$1" > "$log" 2>&1 < /dev/null &
  pid=$!
  while kill -0 "$pid" 2> /dev/null && ! grep -q 'Pulling from' "$log" && [ "$waited" -lt 50 ]; do
    sleep 0.2
    waited=$((waited + 1))
  done
  if [ "$waited" -ge 50 ]; then
    kill "$pid" 2> /dev/null || true
    wait "$pid" 2> /dev/null || true
    say "Docker Hub did not answer within 10 seconds"
    return 1
  fi
  wait "$pid" && return
  if grep -qiE 'toomanyrequests|rate limit|429' "$log"; then
    say "Docker Hub's pull limit for your address is used up"
  else
    say "Docker Hub can't be reached ($(tail -n 1 "$log" | cut -c 1-120))"
  fi
  return 1
}

provide_bases() {
  local base reason='' target missing=()
  [ "$offline" = no ] || reason="--offline was given"
  for base in "$@"; do
    image_id "$base" > /dev/null && continue
    if [ -z "$reason" ]; then
      say "pulling $base from Docker Hub ..."
      if reason="$(pull "$base")"; then reason=''; continue; fi
    fi
    missing+=("$base")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "$reason: building stand-ins for ${missing[*]} (what that is: base-images/README.md) ..."
  build_stand_ins "${missing[@]}"
}

build_stand_ins() {
  local base target targets=() context="$scratch/bootstrap" arch
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2> /dev/null ||
    fail "Stand-ins need Python 3.9 or newer on this machine. Or get the base images from somebody who has them: ./build-all.sh --load-bases FILE"
  arch="$(docker version --format '{{.Server.Arch}}')"
  python3 base-images/bootstrap.py "$context" --arch "$arch" || exit 1
  cp base-images/debian/Dockerfile "$context/"
  mkdir "$context/authorities"
  # The certificate authorities that this machine trusts besides the usual ones, one to a file.
  {
    cat /usr/local/share/ca-certificates/*.crt /etc/pki/ca-trust/source/anchors/* 2> /dev/null
    if command -v security > /dev/null; then security find-certificate -a -p /Library/Keychains/System.keychain; fi
  } | awk -v to="$context/authorities" '
    /BEGIN CERTIFICATE/ { n++; inside = 1 }
    inside { print > (to "/host-" n ".crt") }
    /END CERTIFICATE/ { inside = 0; close(to "/host-" n ".crt") }' || true
  for base in "$@"; do
    target="$(awk -F '\t' -v base="$base" '$2 == base { print $1 }' "$scratch/bases")"
    targets+=("$target")
  done
  BOOTSTRAP="$context" bake "$scratch/bases.log" "${targets[@]}" ||
    { tail -n 30 "$scratch/bases.log" >&2; fail "The stand-ins could not be built. $(why_failed "$scratch/bases.log")"; }
}

# --- building -------------------------------------------------------------------------------------

# bake LOG TARGET...: build, write BuildKit's words to LOG, show one line for each step that really ran.
bake() {
  local log="$1"
  shift
  docker buildx bake -f docker-bake.hcl --progress plain ${no_cache:+--no-cache} "$@" 2>&1 < /dev/null | tee "$log" | awk '
    /^#[0-9]+ \[[^]]*[0-9]+\/[0-9]+\]/ && !/\] FROM / { name[$1] = substr($0, length($1) + 2) }
    /^#[0-9]+ DONE/ && ($1 in name) && $3 != "0.0s" { print "  " $3 "\t" substr(name[$1], 1, 100); fflush() }'
}

# One sentence on what most likely made a build fail, from its log.
why_failed() {
  if grep -qi 'no space left on device' "$1"; then
    say "The disk is full: free some room (docker system df shows what Docker uses) and try again."
  elif grep -qE 'failed to resolve source metadata|pull access denied' "$1"; then
    say "A base image is neither here nor to be had: is every FROM line right?"
  elif grep -qiE 'CERTIFICATE_VERIFY_FAILED|self[- ]signed certificate|PKIX path|unable to get local issuer' "$1"; then
    say "A proxy between you and the package registries signs with its own certificate authority; README.md, \"When something goes wrong\", says what to do."
  elif grep -qiE 'name resolution|Could not resolve|ENOTFOUND|EAI_AGAIN|Network is unreachable|Connection timed out|UnknownHost|Max retries exceeded' "$1"; then
    say "The network was not there: the build fetches packages the first time. Check it and run this again."
  else
    say "The failed step and its output are above."
  fi
}

build() {
  local target tag dockerfile failed=() before
  while IFS=$'\t' read -r target tag dockerfile; do
    say "$tag $(image_id "$tag" || true)"
  done < "$scratch/targets" > "$scratch/before"
  mkdir "$scratch/logs"
  # shellcheck disable=SC2046 # one word for each target
  if ! bake "$scratch/logs/all" $(cut -f 1 "$scratch/targets"); then
    # bake stops everything at the first failure; alone, each target shows what it can do.
    while IFS=$'\t' read -r target tag dockerfile; do
      if ! bake "$scratch/logs/$target" "$target"; then
        sed -n '/^ > \[/,$p' "$scratch/logs/$target" >&2
        printf 'error: %s (%s) could not be built. %s\n' "$tag" "$dockerfile" "$(why_failed "$scratch/logs/$target")" >&2
        failed+=("$tag")
      fi
    done < "$scratch/targets"
  fi
  # What a rebuild has replaced and left without a name was ours, so it goes.
  while read -r tag before; do
    if [ -n "$before" ] && [ "$(docker image inspect --format '{{len .RepoTags}}' "$before" 2> /dev/null)" = 0 ] &&
      has_label "$before" learn.multistage.image "${tag#"${REGISTRY:+$REGISTRY/}"}"; then
      docker image rm "$before" > /dev/null 2>&1 || true
    fi
  done < "$scratch/before"
  table ${failed[@]+"${failed[@]}"}
  [ ${#failed[@]} -eq 0 ] || fail "${#failed[@]} of $(wc -l < "$scratch/targets" | tr -d ' ') images could not be built: ${failed[*]}"
}

# The closing table. "beside" is the size as a share of the chapter's single-stage image; cached counts
# the steps that BuildKit did not have to run; seconds is the time its own steps took.
table() {
  local target tag dockerfile size twin log line unbuilt=" $* " tags
  tags="$(cut -f 2 "$scratch/targets")"
  printf '\n%-32s %9s %8s %9s %8s\n' IMAGE SIZE BESIDE CACHED SECONDS
  while IFS=$'\t' read -r target tag dockerfile; do
    case "$unbuilt" in *" $tag "*) printf '%-32s %9s\n' "$tag" failed; continue ;; esac
    log="$scratch/logs/$target"
    [ -e "$log" ] || log="$scratch/logs/all"
    size="$(docker image inspect --format '{{.Size}}' "$tag" 2> /dev/null)" || continue
    twin="$(grep -E "${tag%%-*}-[^:]*:single-stage\$" <<< "$tags")" || twin=''
    [ -z "$twin" ] || twin="$(docker image inspect --format '{{.Size}}' "$twin" 2> /dev/null)" || twin=''
    line="$(awk -v target="$target" -v only="$(wc -l <<< "$tags")" '
      # With one target bake does not put its name before the step.
      /^#[0-9]+ \[[^]]*[0-9]+\/[0-9]+\]/ && !/\] FROM / {
        split($0, word, /[][ ]+/)
        if (only + 0 == 1 || FILENAME ~ ("/" target "$") || word[2] == target) mine[$1] = 1
      }
      /^#[0-9]+ CACHED/ { cached[$1] = 1 }
      /^#[0-9]+ DONE/ { seconds[$1] = $3 + 0 }
      END { for (step in mine) { n++; c += cached[step]; s += seconds[step] } printf "%d/%d %.1f", c, n, s }' "$log")"
    awk -v tag="$tag" -v size="$size" -v twin="${twin:-0}" -v line="$line" 'BEGIN {
      split(line, part, " ")
      printf "%-32s %6.1f MB %8s %9s %8s\n", tag, size / 1e6, twin ? sprintf("%.0f %%", 100 * size / twin) : "-", part[1], part[2]
    }'
  done < "$scratch/targets"
}

# --- removing, saving, loading ----------------------------------------------------------------------

clean() {
  local target tag dockerfile removed=0 stuck=0
  plan default bases tests > "$scratch/all"
  # shellcheck disable=SC2034 # dockerfile is read only to get past it
  while IFS=$'\t' read -r target tag dockerfile; do
    # A name alone proves nothing: node:24-slim may be Docker Hub's.
    if has_label "$tag" learn.multistage.image "${tag#"${REGISTRY:+$REGISTRY/}"}" || has_label "$tag" learn.multistage.stand-in; then
      if docker image rm "$tag" > /dev/null 2> "$scratch/rm.err"; then
        say "removed $tag"
        removed=$((removed + 1))
      else
        say "kept $tag: $(sed 's/^Error response from daemon: //' "$scratch/rm.err")"
        stuck=$((stuck + 1))
      fi
    fi
  done < "$scratch/all"
  say "$removed images removed. Docker's build cache is shared with your other projects and stays; docker builder prune empties it."
  [ "$stuck" -eq 0 ] || fail "$stuck images are in use by containers. Remove those (docker container rm -f NAME), then run --clean again."
}

save_bases() {
  [ ! -e "$1" ] || fail "$1 exists already; name a new file."
  plan bases > "$scratch/bases"
  # shellcheck disable=SC2046 # one word for each image
  provide_bases $(cut -f 2 "$scratch/bases")
  # shellcheck disable=SC2046
  docker save -o "$1" $(cut -f 2 "$scratch/bases") || fail "The base images could not be written to $1."
  say "$(cut -f 2 "$scratch/bases" | wc -l | tr -d ' ') base images written to $1 ($(($(wc -c < "$1") / 1000000)) MB)."
}

load_bases() {
  local target tag dockerfile before after
  [ -r "$1" ] || fail "$1 is not a file that can be read."
  tar -xOf "$1" manifest.json > "$scratch/manifest" 2> /dev/null ||
    fail "$1 is not a file that ./build-all.sh --save-bases wrote."
  plan bases > "$scratch/bases"
  grep -o '"RepoTags":\[[^]]*\]' "$scratch/manifest" | sed 's/^"RepoTags"://' | tr -d '[]"' | tr ',' '\n' > "$scratch/names" || true
  while read -r tag; do
    cut -f 2 "$scratch/bases" | grep -qxF "$tag" || fail "$1 holds $tag, which is no base image of this repo: nothing was loaded."
  done < "$scratch/names"
  while read -r tag; do say "$tag $(image_id "$tag" || true)"; done < "$scratch/names" > "$scratch/before"
  docker load -q -i "$1" > /dev/null || fail "Docker could not load $1."
  while read -r tag before; do
    after="$(docker image inspect --format '{{.Architecture}}' "$tag")"
    if [ -n "$before" ]; then
      docker tag "$before" "$tag"
      say "kept $tag, which was here already"
    elif [ "$after" != "$(docker version --format '{{.Server.Arch}}')" ]; then
      docker image rm "$tag" > /dev/null
      fail "$tag in $1 is for $after machines; this one is $(docker version --format '{{.Server.Arch}}'). Save the bases on a machine of the same kind."
    else
      say "loaded $tag"
    fi
  done < "$scratch/before"
}

# --- the command line -------------------------------------------------------------------------------

cd "$(dirname "${BASH_SOURCE[0]}")"
offline=no no_cache='' action=build install=no file='' groups=()
started_in="$OLDPWD"
while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h) usage; exit 0 ;;
    --install-engine) install=yes ;;
    --offline) offline=yes ;;
    --no-cache) no_cache=yes ;;
    --clean) action=clean ;;
    --save-bases | --load-bases)
      action="$1"
      [ $# -gt 1 ] || misuse "$1 needs a file name."
      case "$2" in /*) file="$2" ;; *) file="$started_in/$2" ;; esac
      shift ;;
    -*) misuse "There is no option $1." ;;
    *)
      group="${1##*/}" group="${1%/}" group="${group##*/}" group="${group%%-*}"
      chapters | grep -qx -- "$group" || misuse "There is no chapter $1. There are: $(chapters | tr '\n' ' ')"
      groups+=("$group") ;;
  esac
  shift
done

scratch="$(mktemp -d "${TMPDIR:-/tmp}/build-all.XXXXXX")"
trap 'rm -rf "$scratch"' EXIT

[ "$install" = no ] || install_engine
trouble="$(engine_trouble)"
[ -z "$trouble" ] || fail "$trouble"
# The builder of the engine itself: another one (docker buildx use ...) would not see local base images.
BUILDX_BUILDER="$(docker context show 2> /dev/null || echo default)"
export BUILDX_BUILDER

case "$action" in
  clean) clean ;;
  --save-bases) save_bases "$file" ;;
  --load-bases) load_bases "$file" ;;
  build)
    [ ${#groups[@]} -gt 0 ] || groups=(default)
    plan "${groups[@]}" > "$scratch/targets"
    needed="$(bases_needed)"
    # shellcheck disable=SC2086 # one word for each image
    provide_bases $needed
    build ;;
esac

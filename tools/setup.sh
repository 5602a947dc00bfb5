#!/usr/bin/env bash
# Installs what is missing on a bare Debian 12 and leaves the release build in
# build/, binaries in build/bin/. Safe to run again. Messages go to stderr.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  # build
  cmake ninja-build ccache git ca-certificates clang-22 lld-22
  # compiler
  libmlir-22-dev mlir-22-tools llvm-22-dev llvm-22-tools
  # runtime and tools
  flatbuffers-compiler libflatbuffers-dev libcli11-dev libpcre2-dev
  libutf8proc-dev libxxhash-dev nlohmann-json3-dev
  # tests
  clang-format-22 clang-tidy-22 libclang-rt-22-dev libgtest-dev libgmock-dev
  python3 binutils
)

command -v dpkg-query >/dev/null || {
  echo "setup: error: dpkg-query is not there; this script installs packages" \
    "of Debian 12, elsewhere install MLIR 22 and what docs/DevGuide.md lists" >&2
  exit 1
}
missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [ "$status" = "install ok installed" ] || missing+=("$package")
done

if [ ${#missing[@]} -gt 0 ]; then
  sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
      echo "setup: error: packages are missing and this user is not root;" \
        "run as root: apt-get install ${missing[*]}" >&2
      exit 1
    }
    sudo=(sudo)
  fi
  echo "setup: installing ${missing[*]}" >&2
  "${sudo[@]}" apt-get update -qq >&2
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 || {
    echo "setup: error: apt-get install stopped (its message is above); LLVM" \
      "and MLIR 22 come from Debian 12's bookworm-security, which has to be" \
      "among the sources of apt" >&2
    exit 1
  }
fi

echo "setup: building" >&2
cmake --preset release >&2
cmake --build --preset release >&2

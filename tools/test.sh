#!/usr/bin/env bash
# Set-up, then every test that needs no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/setup.sh
ctest --test-dir build --output-on-failure --parallel "$(nproc)"

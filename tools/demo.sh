#!/usr/bin/env bash
# The main job on the bundled model: set-up, compile for two ranks on the CPU
# target, generate. The generated text goes to stdout, everything else, the
# prompt included, to stderr.
#   tools/demo.sh [PROMPT]
set -euo pipefail
cd "$(dirname "$0")/.."
prompt=${1:-"One day Mia the baker"}

tools/setup.sh
engine=$(mktemp --suffix=.saddle)
trap 'rm -f "$engine"' EXIT
build/bin/saddle-compile models/nano/bf16 --topology tp=2 --target cpu \
  --max-seq-len 512 -o "$engine" >&2
printf '%s' "$prompt" >&2
build/bin/saddle-run "$engine" --weights models/nano/bf16 --prompt "$prompt" \
  --max-new-tokens 200

#!/bin/sh
# Builds the project and runs its main job for real, or, as `./demo.sh tracker`, a tracker for trying import and sync
# without an account; see README.md.
set -eu
cd "$(dirname "$0")"
cargo build --bins --examples
exec "target/debug/examples/${1:-demo}"

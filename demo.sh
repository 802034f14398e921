#!/bin/sh
# Builds the project and runs its main job for real; see README.md.
set -eu
cd "$(dirname "$0")"
cargo build --bins --example demo
exec target/debug/examples/demo

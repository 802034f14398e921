#!/bin/sh
# Makes docs/quickstart.svg anew from what the programs say.
set -eu
cd "$(dirname "$0")/.."
SPECWEAVE_JOBS_RECORD=1 cargo test --test promises quickstart

#!/bin/sh
# Installs the stock gRPC libraries that tests/contract.rs talks with, and SpecWeave itself for tests/specweave.rs,
# into the folder that is named.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
cp "$here/package.json" "$here/client.js" "$here/client.py" "$here/specweave-writer.mjs" .
npm install --silent --no-audit --no-fund --ignore-scripts
python3 -m venv python
python/bin/pip install --quiet grpcio==1.76.0 grpcio-reflection==1.76.0 || python/bin/pip install --quiet grpcio grpcio-reflection

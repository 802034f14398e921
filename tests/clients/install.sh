#!/bin/sh
# Installs the stock gRPC libraries and the trackers' own clients that tests/contract.rs talks with, GitHub's description of its
# API, the schema of Atlassian's documents, and SpecWeave itself for tests/specweave.rs, into the folder that is named.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
cp "$here/package.json" "$here/client.js" "$here/client.py" "$here/specweave-writer.mjs" "$here/trackers.mjs" "$here/adf.mjs" \
    "$here/github-here.cjs" "$here/specweave-import.mjs" "$here/mcp.mjs" .
npm install --silent --no-audit --no-fund --ignore-scripts
if [ ! -s github-api.json ]; then
    # One file of a package of a hundred.
    archive=$(npm pack --silent @octokit/openapi@23.0.2)
    tar xzf "$archive" -O package/generated/api.github.com.json > github-api.json
    rm "$archive"
fi
if [ ! -s adf-schema.json ]; then
    archive=$(npm pack --silent @atlaskit/adf-schema@57.7.22)
    tar xzf "$archive" -O package/dist/json-schema/v1/full.json > adf-schema.json
    rm "$archive"
fi
python3 -m venv python
python/bin/pip install --quiet grpcio==1.76.0 grpcio-reflection==1.76.0 grpcio-status==1.76.0 grpcio-tools==1.76.0 ||
    python/bin/pip install --quiet grpcio grpcio-reflection grpcio-status grpcio-tools
if command -v apt-get > /dev/null; then
    "$here/go.sh" "$PWD" "$PWD/python/bin/python3"
else
    echo "the client in Go is left out: its libraries come from Debian" >&2
fi
# connect-node and protobuf-es come with the extension, whose script is the typed client in Node.
cd "$here/../../editors/vscode"
npm ci --silent --no-audit --no-fund --ignore-scripts
npm run --silent generate
node build.mjs --test
cp dist/test/contract.js "$OLDPWD/contract.js"

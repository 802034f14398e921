#!/bin/sh
# The licences of everything that the programs are built from, as their packages carry them.
set -eu
cd "$(dirname "$0")/.."
cargo tree --edges normal,build --prefix none --format '{p}|{l}' --locked | sed 's/ (\*)$//' | sort -u | while IFS='|' read -r package licence; do
    name=${package%% *}
    version=$(echo "$package" | sed -n 's/^[^ ]* v\([^ ]*\).*/\1/p')
    [ "$name" = specweave-jobs ] && continue
    echo "================ $name $version ($licence)"
    for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$name-$version"; do
        for file in "$folder"/LICEN[CS]E* "$folder"/COPYING* "$folder"/NOTICE* "$folder"/libgit2/COPYING; do
            if [ -f "$file" ]; then
                echo
                cat "$file"
            fi
        done
    done
    echo
done

#!/bin/sh
# Every object carries a licence for the kernel, BTF for those who debug it, and nothing that lives outside of maps.
set -eu

fail() {
    echo "$1: $2" >&2
    exit 1
}

for object; do
    sections=$TEST_TMPDIR/sections
    readelf --wide --section-headers "$object" >"$sections"
    grep -q ' license ' "$sections" || fail "$object" "no licence"
    grep -q ' \.BTF ' "$sections" || fail "$object" "no BTF"
    if grep -Eq ' \.(bss|data) ' "$sections"; then fail "$object" "global variables"; fi
done
echo "$# objects are as they should be"

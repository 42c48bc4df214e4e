#!/usr/bin/env bash
# layout.sh CACHE-HIT NO-EXCHANGE EXCHANGE...: prints a linker script that puts the functions of a run next to each other, in
# the order in which a run comes to them. The profiles are callgrind's, of the program with its symbols; `make layout` makes
# them.
set -euo pipefail

object_of_function() {
    nm -A --defined-only "$(cc -print-file-name=libc.a)" 2>/dev/null |
        awk '$2 ~ /^[tTwWi]$/ { n = split($1, part, ":"); print $3, part[n - 1] }'
}

called() { sed -n 's/^c\?fn=([0-9]*) //p' "$@" | sed "s/'[0-9]*$//"; }

# The patterns of the functions in these profiles.
patterns() {
    {
        object_of_function
        echo --
        called "$@"
    } | awk '
        /^--$/ { in_profile = 1; next }
        !in_profile { object[$1] = $2; next }
        !/^[A-Za-z_][A-Za-z0-9_.$]*$/ { next }
        { copy = sub(/\.[0-9]+$/, "") ? ".*" : "" }
        /^_ZN|^_R/ {
            gsub(/17h[0-9a-f]+E/, "17h*E"); gsub(/Cs[0-9A-Za-z]+_/, "Cs*_"); gsub(/\$/, "?")
            pattern = "*(.text*." (length($0) > 120 ? substr($0, 1, 120) "*" : $0 copy) ")"
        }
        /^ring_core_/ { sub(/^ring_core_[0-9_]*__/, "ring_core_*__") }
        !/^_ZN|^_R/ { pattern = $0 in object ? "*libc.a:" object[$0] "(.text .text.*)" : "*(.text." $0 ")" }
        { print "    " pattern }'
}

# Valgrind sees no vDSO, no child that shares our memory, and no newer instructions: what they need stands where a run
# without exchange ends, and the rest at the end.
{
    cat <<'END'
/* Written by `make layout`: the functions of a run, in the order in which it comes to them. Without what changes with each
   compiler, and with each version of a library. */
SECTIONS
{
  .text.run : {
    *crt1.o(.text)
    *crtbegin*.o(.text)
END
    patterns "${@:1:2}"
    cat <<'END'
    *(.text._dl_get_origin)
    *libc.a:dl-lookup.o(.text)
    *libc.a:execve.o(.text)
    *libc.a:strcmp-avx2.o(.text.avx)
    *libgcc_eh.a:unwind-dw2-fde-dip.o(.text)
    *(.text*._ZN16monitoring_token3sys*)
    *(.text*._ZN16monitoring_token5child*)
    *libring-*:*sha512*-elf.o(.text)
    *libring-*:*curve25519*.o(.text .text.*)
END
    patterns "${@:3}"
    cat <<'END'
    *libring-*:*-elf.o(.text)
  }
}
INSERT BEFORE .text;
END
} | awk '!printed[$0]++'

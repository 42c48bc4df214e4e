#!/bin/sh
# Writes the man pages and completions, and tests them: the pages with mandoc, the completions in their shells. Needs
# mandoc, bash, zsh and fish. Usage: packaging/test-pages.sh
set -eu
cd "$(dirname "$0")/.."
cargo run --quiet --locked --package xtask -- pages
pages=target/pages
failed=0

# claim NAME WANTED TEXT: the text has this line (if WANTED begins with !, does not have it).
claim() {
    case "$2" in
    !*) ! printf '%s\n' "$3" | grep -qxF -e "${2#!}" || bad=1 ;;
    *) printf '%s\n' "$3" | grep -qxF -e "$2" || bad=1 ;;
    esac
    if [ "${bad-}" ]; then
        printf 'FAILED: %s: wanted %s, got:\n%s\n' "$1" "$2" "$3"
        failed=1
    fi
    unset bad
}

for page in "$pages"/man1/*.1; do
    mandoc -T lint -W warning "$page" || failed=1
    text=$(mandoc -T ascii "$page" | col -b)
    for section in NAME SYNOPSIS DESCRIPTION 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
        claim "$page" "$section" "$text"
    done
done
# Each flag in -help is in the page.
text=$(mandoc -T ascii "$pages/man1/monitoring-token.1" | col -b)
flags=$(cargo run --quiet --locked -- -help | grep -o '^ *\(-h, \)\?--[a-z.-]*' | sed 's/.*--//')
[ "$(printf '%s\n' "$flags" | wc -l)" -gt 15 ] || { echo 'FAILED: -help shows no flags'; failed=1; }
for flag in $flags; do
    printf '%s\n' "$text" | grep -qe "--$flag\b" || { echo "FAILED: no --$flag in the man page"; failed=1; }
done

# in_bash WORD...: bash's completions for the last word.
in_bash() {
    bash --norc -c '
        file=$1 name=$2
        shift
        . "$file"
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        "_${name//-/__}" "$name" "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
        printf "%s\n" "${COMPREPLY[@]}"
    ' bash "$pages/completions/$1.bash" "$@"
}
claim bash -machine "$(in_bash monitoring-token -mach)"
claim bash --machine "$(in_bash monitoring-token --mach)"
claim bash '!--machine' "$(in_bash monitoring-token -mach)"
claim bash key "$(in_bash monitoring-token k)"
claim bash generate "$(in_bash monitoring-token key gen)"
claim bash -jwks "$(in_bash monitoring-token key public -j)"
claim bash '!-jwks' "$(in_bash monitoring-token key generate -)"
claim bash LICENSE "$(in_bash monitoring-token -ca-file LICEN)"
claim bash bash "$(in_bash monitoring-token -machine x -- bas)"
claim bash '!-machine' "$(in_bash monitoring-token -- ls -mach)"
claim bash clock-skew "$(in_bash monitoring-token explain clock)"
claim bash masked "$(in_bash monitoring-token -output mas)"
claim bash --verify-key "$(in_bash monitoring-sandbox --ver)"
claim bash --help "$(in_bash monitoring-sandbox probe --h)"

# in_fish LINE: fish's completions for the end of the line, without descriptions.
in_fish() {
    # shellcheck disable=SC2016 # fish expands it
    HOME=$home fish --no-config -c '
        source $argv[1]; source $argv[2]
        complete -C $argv[3] | string replace -r "\t.*" ""
    ' "$pages/completions/monitoring-token.fish" "$pages/completions/monitoring-sandbox.fish" "$1"
}
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
claim fish -machine "$(in_fish 'monitoring-token -mach')"
claim fish --machine "$(in_fish 'monitoring-token --mach')"
claim fish -service "$(in_fish 'monitoring-token -machine=x -logx.debug=true -serv')"
claim fish key "$(in_fish 'monitoring-token k')"
claim fish generate "$(in_fish 'monitoring-token key gen')"
claim fish -jwks "$(in_fish 'monitoring-token key public -j')"
claim fish '!-machine' "$(in_fish 'monitoring-token -- ls -mach')"
claim fish clock-skew "$(in_fish 'monitoring-token explain clock')"
claim fish masked "$(in_fish 'monitoring-token --output mas')"
claim fish ES256 "$(in_fish 'monitoring-token key generate -alg ES')"
claim fish --verify-key "$(in_fish 'monitoring-sandbox --ver')"

# in_zsh LINE: the line after TAB in a real zsh, on its own terminal.
in_zsh() {
    # shellcheck disable=SC2016 # zsh expands it
    timeout 20 zsh -f -c '
        zmodload zsh/zpty
        zpty terminal zsh -f -i
        read_until() { local chunk all=; while zpty -r terminal chunk; do all+=$chunk; [[ $all == *$1* ]] && break; done; print -r -- $all }
        zpty -w terminal "PS1=; fpath=($2 \$fpath); autoload -U compinit; compinit -u -D; print -r -- rea\dy"
        read_until ready >/dev/null
        zpty -w terminal "show() { print -r -- \"line:\${BUFFER}:end\"; BUFFER=; }; zle -N show; bindkey \"^]\" show; print -r -- don\e"
        read_until done >/dev/null
        zpty -w -n terminal "$1"$'"'\\t\\x1d'"'
        read_until :end
        zpty -d terminal
    ' zsh "$1" "$PWD/$pages/completions" | tr -d '\r' | sed -n 's/.*line:\(.*\):end.*/\1/p'
}
claim zsh 'monitoring-token -machine=' "$(in_zsh 'monitoring-token -mach')"
claim zsh 'monitoring-token --machine=' "$(in_zsh 'monitoring-token --mach')"
claim zsh 'monitoring-token key generate ' "$(in_zsh 'monitoring-token key gen')"
claim zsh 'monitoring-token -machine=x -- monitoring-sandbox --verify-key=' \
    "$(in_zsh 'monitoring-token -machine=x -- monitoring-sandbox --veri')"
claim zsh 'monitoring-sandbox --verify-key=' "$(in_zsh 'monitoring-sandbox --veri')"

[ "$failed" = 0 ] && echo 'man pages and completions: ok'
exit "$failed"

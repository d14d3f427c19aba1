#!/usr/bin/env bash
# Brings the programs of commits.txt to the commits this project is compared with:
#
#     third_party/clone.sh               all of them
#     third_party/clone.sh big_vision    those that are named
#
# Only tests read them (tests/parity_test.py); without them those tests are left out.
set -euo pipefail
cd "$(dirname "$0")"
export GIT_TERMINAL_PROMPT=0 GIT_LFS_SKIP_SMUDGE=1

fail() {
  echo "error: $*" >&2
  exit 1
}

# What a clone of the folder above would say is of no interest here.
head_of() {
  [ -e "$1/.git" ] && git -C "$1" rev-parse --verify --quiet HEAD
}

bring() {
  local name=$1 url=$2 commit=$3 said
  if [ "$(head_of "$name")" = "$commit" ]; then
    echo "third_party/$name is at ${commit:0:7} already."
    return
  fi
  if [ -e "$name" ]; then
    [ -e "$name/.git" ] || fail "third_party/$name is there and is no clone; move it away."
    [ -z "$(git -C "$name" status --porcelain)" ] ||
      fail "third_party/$name has changes of its own, found by git status; keep them elsewhere."
  fi
  # A new clone appears under its name only when it is whole.
  local into=$name
  [ -e "$name" ] || into=$(mktemp -d ".$name.XXXXXX")
  git -C "$into" init --quiet
  if ! said=$(git -C "$into" fetch --quiet --depth 1 "$url" "$commit" 2>&1); then
    [ "$into" = "$name" ] || rm -rf "$into"
    fail "commit $commit of $name could not be had from $url, which said
$said
Is there a network, and does that repository have the commit that third_party/commits.txt names?"
  fi
  git -C "$into" -c advice.detachedHead=false checkout --quiet "$commit"
  [ "$into" = "$name" ] || mv "$into" "$name"
  echo "third_party/$name is at ${commit:0:7} now."
}

command -v git > /dev/null || fail "found no git on PATH, which brings the programs; install it."

# All lines are read before any is followed; the last one may lack its end.
names=() urls=() commits=()
while read -r name url commit rest || [ -n "$name" ]; do
  line=$((${#names[@]} + 1))
  [[ $commit =~ ^[0-9a-f]{40}$ && -z $rest ]] ||
    fail "third_party/commits.txt, line $line: found '$name${url:+ $url}${commit:+ $commit}\
${rest:+ $rest}', expected 'NAME URL COMMIT', the commit with all of its 40 digits; mend that line."
  names+=("$name") urls+=("$url") commits+=("$commit")
done < commits.txt
[ ${#names[@]} -gt 0 ] ||
  fail "third_party/commits.txt is empty, expected a line 'NAME URL COMMIT' for every program."

for wanted in "$@"; do
  [[ " ${names[*]} " == *" $wanted "* ]] || fail "found $wanted, expected one of: ${names[*]}."
done
for i in "${!names[@]}"; do
  if [ $# -eq 0 ] || [[ " $* " == *" ${names[i]} "* ]]; then
    bring "${names[i]}" "${urls[i]}" "${commits[i]}"
  fi
done

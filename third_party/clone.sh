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

known=$(cut -d ' ' -f 1 commits.txt | paste -s -d ' ')
for wanted in "$@"; do
  [[ " $known " == *" $wanted "* ]] || fail "found $wanted, expected one of: $known."
done
while read -r name url commit; do
  if [ $# -eq 0 ] || [[ " $* " == *" $name "* ]]; then
    bring "$name" "$url" "$commit"
  fi
done < commits.txt

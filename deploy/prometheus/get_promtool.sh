#!/usr/bin/env bash
# usage: get_promtool.sh FOLDER [prometheus]
# Puts promtool (or Prometheus) into the folder named, as any user: that of the PATH, else the one in Debian's package
# `prometheus`, which is unpacked and not installed. Fails, and says what to do, where neither can be had.
set -euo pipefail
folder=$(realpath "$1")
program=${2:-promtool}

if found=$(command -v "$program"); then
  install -m 755 "$(realpath "$found")" "$folder/$program"
elif command -v apt-get > /dev/null && command -v dpkg-deb > /dev/null; then
  work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  cd "$work"
  if ! apt-get -qq -o APT::Sandbox::User= download prometheus 2> /dev/null; then
    # No lists yet, and perhaps nobody who may fetch the system's: lists of our own.
    mkdir -p lists/partial cache/archives/partial
    own=(-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o Debug::NoLocking=1 -o APT::Sandbox::User=)
    apt-get -qq "${own[@]}" update
    apt-get -qq "${own[@]}" download prometheus
  fi
  dpkg-deb --extract prometheus_*.deb unpacked
  install -m 755 "unpacked/usr/bin/$program" "$folder/$program"
else
  echo "$program is needed, to check metrics and alert rules: install Prometheus, so that $program is on the PATH" >&2
  exit 1
fi
"$folder/$program" --version 2>&1 | head -1

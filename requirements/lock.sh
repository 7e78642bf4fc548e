#!/usr/bin/env bash
# Renews the lock files: one for what runs, one for each group of tools, each agreeing with the one before.
set -euo pipefail
uv=$(realpath "$1")
cd "$(dirname "$0")/.."
compile() { # group, then its inputs
  local out="requirements/$1.lock"; shift
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links --output-file "$out" "$@"
}
compile run --extra all --group build pyproject.toml
# What the image holds: the services and the CLI, and neither a store nor tools.
compile image --constraint requirements/run.lock --extra cli --extra server --extra otel pyproject.toml
for group in build test lint e2e fuzz protos k8s mutation; do
  compile "$group" --constraint requirements/run.lock --group "$group"
done

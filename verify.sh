#!/usr/bin/env bash
# Verify the images: makes the tests' environment (.venv) when it is missing or old, then runs pytest with
# what you give it: ./verify.sh, ./verify.sh -k ch03, ./verify.sh --full. Runs on Linux and macOS (bash 3.2).
# Two test files run side by side; ./verify.sh -n 0 runs one after the other.
# ./verify.sh --check FOLDER [--json] looks at a Dockerfile of your own instead.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

fail() { printf 'error: %s\n' "$*" >&2; exit 3; }

lock=requirements-test.txt
if ! cmp -s "$lock" .venv/made-from; then
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null ||
    fail "The tests need Python 3.10 or newer as python3 on this machine."
  echo "Making the tests' environment in .venv ..." >&2
  rm -rf .venv
  python3 -m venv .venv || fail "python3 could not make a virtual environment. On Debian and Ubuntu: sudo apt install python3-venv"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$lock" ||
    fail "The tests' packages could not be installed; pip's words are above."
  cp "$lock" .venv/made-from
fi
if [ "${1:-}" = --check ]; then
  shift
  exec .venv/bin/python -m tests.support.check "$@"
fi
exec .venv/bin/python -m pytest -n auto --dist loadfile "$@"

#!/usr/bin/env bash
# Usage: check.sh VENV lint|test [PYTEST-ARGUMENT...]
# `lint` checks the source only; `test` does that and then runs the tests. The first failure ends it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bin=$1/bin
what=$2
shift 2

# step NAME COMMAND...: say what runs, show its output, and how long it took.
step() {
    local name=$1 start=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    "$@" || { printf '== %s: FAILED after %d s\n' "$name" $((SECONDS - start)) >&2; exit 1; }
    printf '== %s: ok, %d s\n' "$name" $((SECONDS - start))
}

news() {
    local report
    report=$("$bin/towncrier" build --draft --version draft 2>&1) || { printf '%s\n' "$report"; return 1; }
}

step 'ruff check' "$bin/ruff" check --quiet
step 'ruff format' "$bin/ruff" format --check --quiet
step 'types (mypy)' "$bin/mypy" --no-error-summary
step 'layers (import-linter)' "$bin/lint-imports" --no-logo
step 'news fragments' news

if [[ $what == test ]]; then
    # Not "$bin/pytest": that is a script, which every child would import as the main module of its parent, and pytest with it.
    pytest=("$bin/python" -m pytest)
    if (($#)); then
        step 'tests (pytest)' "${pytest[@]}" "$@"
    else
        # Three on two cores: many tests wait for most of their time.
        workers=(-n 3 --dist worksteal)
        step 'tests, three at a time (pytest)' "${pytest[@]}" "${workers[@]}" -m 'not alone'
        if "$bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 14))'; then
            files=(tests/test_{context_stream_semantics,2way,inter_peer_cancellation,relayed_errors,remote_exc_relay,overruns}.py)
            step 'contexts and streams of interpreters (pytest)' "${pytest[@]}" "${workers[@]}" --spawn-backend subint \
                "${files[@]}" tests/discovery/test_stale.py
        fi
        step 'tests that measure, one by one (pytest)' "${pytest[@]}" -m alone
    fi
fi
printf '\nAll checks passed.\n'

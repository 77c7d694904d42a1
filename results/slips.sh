#!/bin/bash
# Make slips.json and slips-*.json again: the paper's own pairing, where the junior is a frozen copy of the senior (README.md,
# "Slips"). Ctrl-C ends it; the same command goes on. AT_ONCE=2 runs two at a time.
set -eu
cd "$(dirname "$0")/.."
. results/resume.sh
export OMP_NUM_THREADS=1
out=runs/slips

base() { # base NAME OPTION …: a senior that was taught other shares of checks
  [ -f $out/base-$1/senior.pt ] || python -m results.slips_base --out $out/base-$1 "${@:2}"
}

{
  # Trials of the world itself: how often the senior was taught to check, and the room for it.
  echo "base 0.5-0.3-short --check 0.5 --check-right 0.3 --steps 700"
  echo "base 0.5-0.1 --check 0.5 --check-right 0.1"
  echo "base 0.25-0.1 --check 0.25 --check-right 0.1"
  echo "base 0.5-0.3 --check 0.5 --check-right 0.3"
} | AT_ONCE=1 at_once
{
  for arm in word solo; do
    trial() { # trial BASE TOKENS STEPS
      echo "run $out/trial-$1-$2-$arm --world slips --senior $out/base-$1/senior.pt --max-new-tokens $2 --steps $3" \
        "--learning-rate 2e-4 --schedule $arm"
    }
    trial 0.5-0.3-short 192 250
    trial 0.5-0.3 192 250
    trial 0.5-0.1 192 200
    trial 0.25-0.1 96 150
    trial 0.5-0.3 96 150
    trial 0.5-0.3 112 300
  done

  # The learning rates of both arms.
  for rate in 5e-5 1e-4 2e-4 4e-4; do
    for arm in word solo; do
      echo "run $out/$arm-$rate-10 --world slips --schedule $arm --learning-rate $rate --seed 10"
    done
  done

  # Five seeds of each arm, at the rate that the search found.
  for seed in 0 1 2 3 4; do
    for arm in word solo; do
      echo "run $out/$arm-$seed --world slips --schedule $arm --eval-every 20 --eval-samples 2 --keep-every 25 --seed $seed"
    done
  done
} | at_once

measure runs/slips-trials.json --validation --problems 100 $out/trial-*
measure runs/slips-search.json --validation --problems 500 $out/*e-?-10
measure runs/slips.json --problems 500 --samples 4 --handoff-curve $out/{word,solo}-?
python -m results.slips $out/{word,solo}-? --out runs/slips-right.json --figure runs/slips-right.svg

#!/bin/bash
# Make slips.json and slips-*.json again: the paper's own pairing, where the junior is a frozen copy of the senior (README.md,
# "Slips"). Ctrl-C ends it; the same command goes on. AT_ONCE=2 runs two at a time. Each run took 4 to 14 minutes beside
# another on 2 busy cores.
set -eu
cd "$(dirname "$0")/.."
. results/resume.sh
export OMP_NUM_THREADS=1
out=runs/slips

{
  # The learning rates of both arms.
  for rate in 1e-4 2e-4 4e-4; do
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

measure runs/slips-search.json --validation --problems 500 $out/{word,solo}-?e-4-10
measure runs/slips.json --problems 500 --samples 4 --handoff-curve $out/{word,solo}-?
kept=$(echo $out/{word,solo}-[012])
[ -e runs/slips-right.json ] || python -m results.slips $kept --problems 50 --out runs/slips-right.json

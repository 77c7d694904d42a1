#!/bin/bash
# Make closeness.json again: a junior that imitates jargon without understanding it, and tandem RL beside plain RL with seven KL
# penalties (README.md, "Where closeness isn't enough"). Ctrl-C ends it; the same command goes on.
set -eu
cd "$(dirname "$0")/.."
. results/resume.sh
export OMP_NUM_THREADS=1
base=runs/closeness
rows="--junior $base/parrot --eval-every 50"

echo "37 runs: AT_ONCE=2 took 80 minutes on 2 cores, beside other work"
tune $base/parrot --senior data/junior.pt --shares plain=0.4,parroted=0.6 --steps 400 --batch-size 64 --learning-rate 1e-3 \
  --eval-problems 500
{
  for seed in 0 1 2 3 4; do
    for schedule in word solo; do
      echo "run $base/$schedule-$seed $rows --schedule $schedule --seed $seed"
    done
    for coef in 0.003 0.01 0.03 0.1 0.3; do
      echo "run $base/kl-$coef-$seed $rows --schedule solo --kl-coef $coef --seed $seed"
    done
  done
  for coef in 1 3; do
    echo "run $base/kl-$coef-0 $rows --schedule solo --kl-coef $coef --seed 0"
  done
} | at_once
measure $base/closeness.json $base/{word,solo,kl-*}-? --problems 500

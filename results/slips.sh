#!/bin/bash
# Make slips.json and slips-*.json again: the paper's own pairing, where the junior is a frozen copy of the senior (README.md,
# "Slips"). Ctrl-C ends it; the same command goes on. AT_ONCE=2 runs two at a time.
set -eu
cd "$(dirname "$0")/.."
. results/resume.sh
export OMP_NUM_THREADS=1
out=runs/slips

{
  # The search: learning rates of both arms, and penalties of plain RL, on validation problems.
  for rate in 1e-4 2e-4 4e-4; do
    for arm in word solo; do
      echo "run $out/$arm-$rate-10 --world slips --schedule $arm --learning-rate $rate --seed 10"
    done
  done
  for coef in 0.03 0.1 0.3; do
    echo "run $out/kl-$coef-10 --world slips --schedule solo --kl-coef $coef --seed 10"
  done

  # Five seeds of every arm.
  for seed in 0 1 2 3 4; do
    for arm in word solo; do
      echo "run $out/$arm-$seed --world slips --schedule $arm --eval-every 20 --eval-samples 2 --keep-every 25 --seed $seed"
    done
    echo "run $out/step-$seed --world slips --schedule step --seed $seed"
    echo "run $out/kl-$seed --world slips --schedule solo --kl-coef 0.1 --seed $seed"
    echo "run $out/group-16-$seed --world slips --schedule solo --group-size 16 --seed $seed"
    echo "run $out/grpo-$seed --world slips --loss grpo --seed $seed"
  done

  # The prediction: seniors that were taught to check less, or never.
  for check in 0 0.1 0.25; do
    echo "[ -f $out/base-$check/senior.pt ] || python -m results.slips_base --check $check --out $out/base-$check"
  done
} | at_once

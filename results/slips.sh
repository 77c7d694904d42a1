#!/bin/bash
# Make slips.json, slips-search.json, slips-arms.json and slips-right.json again: the paper's own pairing, where the junior is a
# frozen copy of the senior (README.md, "Slips"). Ctrl-C ends it; the same command goes on. AT_ONCE=2 runs two at a time. Each
# run took 4 to 14 minutes beside another on 2 busy cores.
set -eu
cd "$(dirname "$0")/.."
. results/resume.sh
export OMP_NUM_THREADS=1
out=runs/slips

{
  # The learning rates of both arms, and the strengths of a KL penalty.
  for rate in 5e-5 1e-4 2e-4 4e-4; do
    for arm in word solo; do
      echo "run $out/$arm-$rate-10 --world slips --schedule $arm --learning-rate $rate --seed 10"
    done
  done
  for coef in 0.03 0.1 0.3; do
    echo "run $out/kl-$coef-10 --world slips --schedule solo --kl-coef $coef --seed 10"
  done

  # Five seeds of each arm, at the rate and the strength that the search found.
  for seed in 0 1 2 3 4; do
    for arm in word solo; do
      echo "run $out/$arm-$seed --world slips --schedule $arm --eval-every 20 --eval-samples 2 --keep-every 25 --seed $seed"
    done
    echo "run $out/step-$seed --world slips --schedule step --seed $seed"
    echo "run $out/grpo-$seed --world slips --schedule word --loss grpo --seed $seed"
    echo "run $out/g16-$seed --world slips --schedule solo --group-size 16 --seed $seed"
    echo "run $out/kl-0.1-$seed --world slips --schedule solo --kl-coef 0.1 --seed $seed"
  done
} | at_once

measure runs/slips-search.json --validation --problems 500 $out/{word,solo}-{5e-5,1e-4,2e-4,4e-4}-10 $out/kl-*-10
measure runs/slips.json --problems 500 --handoff-curve $out/{word,solo}-?
measure runs/slips-arms.json --problems 500 $out/{step,grpo,g16,kl-0.1}-?
right=runs/slips-right.json
[ -e $right ] || python -m results.slips $out/{word,solo}-? --problems 50 --out $right

#!/bin/bash
# Make smollm2-self*.json again: SmolLM2-135M with a frozen copy of itself as the junior, the paper's own pairing (README.md, "A
# pretrained model"). Ctrl-C ends it; the same command goes on.
set -eu
cd "$(dirname "$0")/.."
. results/resume.sh
base=runs/smollm2
rows="--junior self --eval-samples 1 --max-new-tokens 72 --precision $precision"

echo "8 runs: some 9 hours on 2 cores; on a GPU give AT_ONCE=8; a run takes 3 GB of disk until it is measured"
smollm2 junior
tune $base/copy --senior smollm2 --shares plain=1 --steps 36 --learning-rate 3e-4 --precision $precision

{
  # The learning rate, by plain RL on validation problems; then on test problems. These begin with the junior of smollm2-arms.sh.
  junior="--senior $base/junior $rows --steps 60 --schedule solo"
  for rate in 1e-5 2e-5 4e-5; do
    search="$base/self-search-$rate $junior --eval-problems 4 --learning-rate $rate --seed 10"
    echo "measured $base/self-search-$rate.json '--problems 200 --validation' $search"
  done
  echo "run_light $base/self-60-solo-0 $junior --eval-problems 500 --learning-rate 2e-5"

  # With less fine-tuning before, and twice the steps, there is more to gain.
  for arm in word-0 step-0 solo-0 solo-1; do # schedule and seed
    train="--senior $base/copy $rows --steps 120 --eval-problems 500 --schedule ${arm%-*} --learning-rate 2e-5"
    echo "run_light $base/self-$arm $train --seed ${arm#*-}"
  done
} | at_once

measure $base/self-search.json $base/self-search-?e-5.json
measure $base/self-60.json $base/self-60-solo-0
measure $base/self.json $base/self-{word,step,solo}-?

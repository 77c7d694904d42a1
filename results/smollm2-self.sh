#!/bin/bash
# SmolLM2-135M with a frozen copy of itself as the junior, the paper's own pairing: word and step beside plain RL. Ctrl-C ends
# it; the same command goes on. No result of it is claimed yet.
set -eu
cd "$(dirname "$0")/.."
. results/resume.sh
base=runs/smollm2
rows="--senior $base/junior --junior self --eval-samples 1 --max-new-tokens 72 --precision $precision"

echo "12 runs: some 15 hours on 2 cores; on a GPU give AT_ONCE=8; a run takes 3 GB of disk until it is measured"
smollm2 junior

# The learning rate, by plain RL on validation problems.
for rate in 1e-5 2e-5 4e-5; do
  search="$base/self-search-$rate $rows --steps 60 --eval-problems 4 --schedule solo --learning-rate $rate --seed 10"
  echo "measured $base/self-search-$rate.json '--problems 200 --validation' $search"
done | at_once
measure $base/self-search.json $base/self-search-?e-5.json

for seed in 0 1 2; do
  for schedule in word step solo; do
    arm="$base/self-$schedule-$seed $rows --steps 120 --eval-problems 500 --schedule $schedule"
    echo "run_light $arm --learning-rate 2e-5 --seed $seed"
  done
done | at_once
measure $base/self.json $base/self-{word,step,solo}-?

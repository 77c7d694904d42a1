#!/bin/bash
# Make smollm2-*.json again, but for those of the other scripts: SmolLM2-135M that was taught one of two languages, then tandem
# RL, plain RL, and plain RL with a KL penalty (README.md, "A pretrained model").
# On 2 cores a step takes some 22 seconds and a measurement some 9 minutes. Ctrl-C ends it; the same command goes on.
set -eu
cd "$(dirname "$0")/.."
. results/resume.sh
base=runs/smollm2
rows="--prompts-per-step 8 --eval-samples 1 --max-new-tokens 72 --precision $precision"

echo "30 runs: some 12 hours on 2 cores; AT_ONCE=10 took 12 minutes on one H200; a run takes 3 GB of disk until it is measured"
smollm2 junior
at_once << END
smollm2 jargon
smollm2 mirrored
END

{
  # Which language can the junior go on from? The handoff curve before training.
  for language in jargon mirrored; do
    pair="$base/$language-pair --senior $base/$language --junior $base/junior $rows --steps 0 --eval-problems 4"
    echo "measured $base/$language-pair.json '--problems 100 --validation --handoff-curve' $pair"
  done
  # The learning rate, on validation problems.
  for rate in 2e-5 4e-5; do
    search="$base/search-$rate --senior $base/jargon --junior $base/junior $rows --steps 20 --eval-problems 4"
    echo "measured $base/search-$rate.json '--problems 200 --validation' $search --learning-rate $rate --seed 10"
  done
  for language in jargon mirrored; do
    train="--senior $base/$language --junior $base/junior $rows --steps 24 --learning-rate 2e-5 --eval-problems 500"
    for seed in 0 1 2 3 4; do
      for schedule in word solo; do
        echo "run_light $base/$language-$schedule-$seed $train --schedule $schedule --seed $seed"
      done
    done
    for coef in 0.01 0.1 1; do
      echo "run_light $base/$language-kl-$coef-0 $train --schedule solo --kl-coef $coef"
    done
  done
} | at_once

measure $base/pairs.json $base/{jargon,mirrored}-pair.json
measure $base/search.json $base/search-?e-5.json
for language in jargon mirrored; do
  measure $base/$language.json $base/$language-{word,solo,kl-*}-?
done

#!/bin/bash
# Tandem RL and plain RL of SmolLM2-135M that was taught one of two languages; some 8 hours on 2 cores, and 3 GB of disk a
# run, which are given back when the runs of an arm are measured. Ctrl-C ends it; the same command goes on. No result of it
# is claimed yet.
set -eu
cd "$(dirname "$0")/.."
. results/resume.sh
base=runs/smollm2
rows="--prompts-per-step 8 --steps 20 --eval-problems 4 --eval-samples 1 --max-new-tokens 72 --precision $precision"

tuning="--learning-rate 3e-4 --precision $precision"
tune $base/junior --senior smollm2 --shares plain=1 --steps 60 $tuning
tune $base/jargon --senior $base/junior --shares plain=0.3,jargon=0.7 --late-shares plain=0.15,jargon=0.85 --steps 60 $tuning
tune $base/mirrored --senior $base/junior --shares plain=0.3,mirrored=0.7 --late-shares plain=0.15,mirrored=0.85 \
  --steps 80 $tuning

# Which language can the junior go on from? The handoff curve of each pair before training.
for language in jargon mirrored; do
  run $base/$language-pair --senior $base/$language --junior $base/junior $rows --steps 0
  measure $base/$language-pair.json $base/$language-pair --problems 100 --validation --handoff-curve
done

# The learning rate, on validation problems.
for rate in 2e-5 4e-5; do
  run $base/search-$rate --senior $base/jargon --junior $base/junior $rows --learning-rate $rate --seed 10
done
measure $base/search.json $base/search-?e-5 --problems 200 --validation

for language in jargon mirrored; do
  pair="--senior $base/$language --junior $base/junior"
  for schedule in word solo; do
    if [ ! -s $base/$language-$schedule.json ]; then
      for seed in 0 1 2 3 4; do
        run $base/$language-$schedule-$seed $pair $rows --schedule $schedule --learning-rate 4e-5 --seed $seed
      done
      measure $base/$language-$schedule.json $base/$language-$schedule-? --problems 500
          rm -f $base/$language-$schedule-?/*.pt
    fi
  done
done

#!/bin/bash
# Make slips-trials.json and slips-prediction.json again: seniors that were taught to check more or less, with more or less room
# for it, and tandem RL and plain RL with them (README.md, "Slips"). Ctrl-C ends it; the same command goes on. AT_ONCE=2 runs two
# at a time.
set -eu
cd "$(dirname "$0")/.."
. results/resume.sh
export OMP_NUM_THREADS=1
out=runs/slips-world

senior() { # senior NAME OPTION …: one that was taught other shares of checks, 10 minutes
  ls $out/$1/* > /dev/null 2>&1 || python -m results.slips_base --out $out/"$@"
}

trial() { # trial SENIOR TOKENS STEPS
  for arm in word solo; do
    echo "run $out/$1-$2-$arm-0 --world slips --senior $out/$1/senior.pt --max-new-tokens $2 --steps $3" \
      "--learning-rate 2e-4 --schedule $arm"
  done
}

senior short --check 0.5 --check-right 0.3 --steps 700
senior seldom --check 0.5 --check-right 0.1
senior half --check 0.25 --check-right 0.1
senior shipped --check 0.5 --check-right 0.3
for share in 0 0.1 0.25; do # right steps in proportion
  senior check-$share --check $share
done

{
  # The trials of the world itself.
  trial short 192 250
  trial shipped 192 250
  trial seldom 192 200
  trial half 96 150
  trial shipped 96 150
  trial shipped 112 300

  # The prediction: no gain where nobody was taught to put slips right.
  for seed in 0 1 2; do
    for share in 0 0.1 0.25; do
      for arm in word solo; do
        echo "run $out/predict-$share-$arm-$seed --world slips --senior $out/check-$share/senior.pt --schedule $arm --seed $seed"
      done
    done
  done
} | at_once

measure runs/slips-trials.json --validation --problems 100 $out/{short,shipped,seldom,half}-*-?
measure runs/slips-prediction.json --problems 500 $out/predict-*-?

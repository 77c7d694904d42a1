#!/bin/bash
# Make jargon.json again: tandem RL and plain RL, five seeds each, in the world jargon (README.md, "Jargon").
# A run takes 188 s (plain RL) to 250 s beside another on 2 cores of an Intel Xeon, the measurement of five 5 minutes.
set -eu
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1

for seed in 0 1 2 3 4; do
  python train.py --seed $seed --eval-every 10 --out runs/jargon/word-$seed
  python train.py --schedule solo --seed $seed --eval-every 10 --out runs/jargon/solo-$seed
done
python evaluate.py runs/jargon/word-? runs/jargon/solo-? --problems 500 --handoff-curve --json > runs/jargon.json
python evaluate.py runs/jargon.json --figure runs/jargon.svg # needs matplotlib

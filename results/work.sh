#!/bin/bash
# Make work.json and work-search.json again: the world in which the senior should show its work (README.md, "Work").
# The pair took 30 minutes on one core, the ten runs 35, two at a time on the 2 cores of a busy machine.
set -eu
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1

python train.py --pretrain --world work # writes runs/base-work
for seed in 0 1 2 3 4; do
  python train.py --world work --seed $seed --eval-every 50 --out runs/work/work-word-$seed
  python train.py --world work --schedule solo --seed $seed --eval-every 50 --out runs/work/work-solo-$seed
done
python evaluate.py runs/work/work-word-? runs/work/work-solo-? --problems 500 --handoff-curve --json > runs/work.json
python evaluate.py runs/work.json --figure runs/work.svg # needs matplotlib

# The search: one run a learning rate, and plain RL with a KL penalty, measured on validation problems.
for rate in 1e-4 2e-4 4e-4 8e-4; do
  python train.py --world work --learning-rate $rate --seed 10 --eval-every 50 --out runs/work/ws-word-$rate
  python train.py --world work --schedule solo --learning-rate $rate --seed 10 --eval-every 50 --out runs/work/ws-solo-$rate
done
for coef in 0.01 0.1 1; do
  python train.py --world work --schedule solo --kl-coef $coef --seed 10 --eval-every 50 --out runs/work/ws-kl-$coef
done
python evaluate.py runs/work/ws-* --validation --problems 500 --json > runs/work-search.json

#!/bin/bash
# Make along.jsonl again, and the two figures that show it: first-coin.svg and responses.svg.
# It is a default run that stops now and then. It took 5 minutes on one busy core.
set -eu
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1

python train.py --steps 0 --eval-problems 10 --out runs/along
python -m results.along runs/along runs/along.jsonl
for steps in 10 20 25 $(seq 30 10 250); do
  python train.py --resume runs/along --steps $steps
  python -m results.along runs/along runs/along.jsonl
done
python -m results.drawings runs/along.jsonl runs

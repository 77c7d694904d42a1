#!/bin/bash
# Make phrasings.json, phrasings-kl.json and phrasings-search.json again: the junior is a frozen copy of the senior
# (README.md, "Phrasings"). The model took 50 minutes on one core, the fifteen runs 60, on a busy machine.
set -eu
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1

python train.py --pretrain --world phrasings # writes runs/base-phrasings
for seed in 0 1 2 3 4; do
  for schedule in step word solo; do
    python train.py --world phrasings --schedule $schedule --learning-rate 1e-4 --steps 300 --seed $seed \
      --eval-every 50 --out runs/phrasings/ph-$schedule-$seed
  done
done
python evaluate.py runs/phrasings/ph-{step,word,solo}-? --problems 500 --handoff-curve --json > runs/phrasings.json
python evaluate.py runs/phrasings.json --figure runs/phrasings.svg # needs matplotlib

# A KL penalty in the partner's place.
for seed in 0 1 2; do
  python train.py --world phrasings --schedule solo --kl-coef 0.03 --learning-rate 1e-4 --steps 300 --seed $seed \
    --eval-every 50 --out runs/phrasings/ph-kl-$seed
done
python evaluate.py runs/phrasings/ph-kl-? --problems 500 --handoff-curve --json > runs/phrasings-kl.json

# The search: learning rates and batches of tandem RL and plain RL, then strict turns and KL penalties.
for schedule in word solo; do
  python train.py --world phrasings --schedule $schedule --learning-rate 1e-4 --steps 500 --seed 10 \
    --eval-every 100 --out runs/phrasings/ph-$schedule-lr1e-4-10
  python train.py --world phrasings --schedule $schedule --learning-rate 2e-4 --seed 10 \
    --eval-every 50 --out runs/phrasings/ph-$schedule-lr2e-4-10
  python train.py --world phrasings --schedule $schedule --learning-rate 4e-4 --seed 10 \
    --eval-every 50 --out runs/phrasings/ph-$schedule-lr4e-4-10
  python train.py --world phrasings --schedule $schedule --learning-rate 2e-4 --prompts-per-step 32 --seed 10 \
    --eval-every 50 --out runs/phrasings/ph-$schedule-p32-10
done
for schedule in step solo; do
  python train.py --world phrasings --schedule $schedule --learning-rate 1e-4 --steps 300 --seed 10 \
    --eval-every 50 --out runs/phrasings/ph-$schedule-300-10
done
for coef in 0.01 0.03 0.1; do
  python train.py --world phrasings --schedule solo --kl-coef $coef --learning-rate 1e-4 --steps 300 --seed 10 \
    --eval-every 50 --out runs/phrasings/ph-kl-$coef-10
done
python evaluate.py runs/phrasings/ph-*-10 --validation --problems 500 --json > runs/phrasings-search.json

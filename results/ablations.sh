#!/bin/bash
# Make ablations.json and jargon-search.json again (README.md, "Ablations" and "The search").
# 70 runs took 2 hours on 2 cores of an Intel Xeon, two at a time. This makes both seeds of every line, 80 runs, one at a time.
set -eu
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1
mkdir -p runs

# A weaker and a stronger junior. The shipped one has stop_at=0.92.
python - <<'END'
from dataclasses import replace

import torch

from data.problems import first_problems
from data.tokenizer import load_tokenizer
from evaluate import Sampling, solo_accuracy
from model import save_model
from support.models.base_pairs import PLAIN_JUNIOR, train_base

tokenizer = load_tokenizer()
for name, stop_at in {"weaker": 0.75, "stronger": None}.items():
    recipe = replace(PLAIN_JUNIOR, stop_at=stop_at)
    junior = train_base(recipe, tokenizer, 0, torch.device("cpu"), name)
    save_model(junior, f"runs/{name}.pt")
    accuracy, _ = solo_accuracy(junior, tokenizer, first_problems("validation", 500, 0), Sampling())
    print(name, accuracy)  # 0.807 and 0.999
END

i=10
while read -r options; do
  for seed in 0 1; do
    python train.py $options --seed $seed --out runs/ablations/ablation-$seed-$i
  done
  i=$((i + 1))
done < results/ablations.txt
python evaluate.py runs/ablations/ablation-* --json > runs/ablations.json

# The search: seed 0 of the default and of the learning rates, for tandem RL and plain RL, on validation problems.
python evaluate.py runs/ablations/ablation-0-{35,36,10,37,38,39,40,15,41,42} --validation --problems 500 --json \
  > runs/jargon-search.json

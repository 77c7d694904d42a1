#!/bin/bash
# Make smollm2-slips.json again: SmolLM2-135M, taught the world slips, with a frozen copy of itself as the junior (README.md, "A
# pretrained model"). Ctrl-C ends it; the same command goes on.
set -eu
cd "$(dirname "$0")/.."
. results/resume.sh
base=runs/slips

echo "fine-tuning and 2 runs: some 3 hours on 2 cores in bfloat16, one after the other; a run takes 10 GB of memory"
tune $base/smollm2 --senior smollm2 --world slips --shares slipping=1 --steps 80 --learning-rate 3e-4 --precision $precision
for arm in solo word; do
  run_light $base/smollm2-$arm-0 --world slips --senior $base/smollm2 --junior self --schedule $arm --precision $precision \
    --steps 40 --prompts-per-step 8 --group-size 8 --learning-rate 2e-5 --eval-problems 500 --eval-samples 1 --save-every 5
done
measure runs/smollm2-slips.json $base/smollm2-{word,solo}-0

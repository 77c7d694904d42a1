#!/bin/bash
# Make smollm2-gsm8k.json again: SmolLM2-135M, fine-tuned on GSM8K's training set, then measured. It solves too little for RL.
# Ctrl-C ends it; the same command goes on.
#
#   bash results/smollm2-gsm8k.sh TRAIN.jsonl TEST.jsonl     # of openai/grade-school-math
set -eu
train=$(realpath "${1:?give the training set of GSM8K, a JSON Lines file}") test=$(realpath "${2:?give its test set}")
cd "$(dirname "$0")/.."
. results/resume.sh
base=runs/smollm2
mkdir -p $base

echo "400 steps of 16 seconds, then a measurement: some 2 hours on 2 cores"
python - "$train" > $base/gsm8k.jsonl << 'END'
import json, re, sys

for line in open(sys.argv[1], encoding="utf-8"):
    row = json.loads(line)
    steps, answer = re.sub("<<.*?>>", "", row["answer"]).split("\n#### ")
    print(json.dumps({"question": row["question"], "solution": steps + "\n\\boxed{" + answer + "}"}))
END
tune $base/gsm8k --senior smollm2 --data $base/gsm8k.jsonl --steps 400 --learning-rate 3e-4 --precision $precision
run_light $base/gsm8k-pair --senior $base/gsm8k --junior self --data "$train" --test-data "$test" --steps 0 \
  --eval-problems 500 --eval-samples 1 --max-new-tokens 256 --precision $precision
measure $base/gsm8k.json $base/gsm8k-pair

#!/bin/bash
# The paper's settings, on your own model and problems. No result with them is claimed here.
#
#   bash results/paper.sh MODEL PROBLEMS.jsonl
#
# MODEL is a Hugging Face directory of Qwen3-4B's size, PROBLEMS.jsonl has {"question": …, "answer": …} a line.
# It needs about 117 GB of GPU memory, as computed: the senior's weights, gradients and Adam's moments alone take 64.
# It wasn't run.
set -eu
root=$(dirname "$0")/..
senior=${1:?give the directory of a model, such as Qwen3-4B}
data=${2:?give a JSON Lines file of problems}

python "$root/train.py" --senior "$senior" --junior self --data "$data" \
  --prompts-per-step 16 --group-size 8 --max-prompt-tokens 1024 --max-new-tokens 3000 --temperature 0.6 \
  --prompt-template '{question} Put the final answer in \boxed{}.' \
  --loss grpo --learning-rate 1e-6 --steps 200 --eval-samples 8 \
  --precision bfloat16 --checkpoint-activations --micro-batch-tokens 8192 --rollout-batch-size 43

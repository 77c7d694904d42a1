#!/bin/bash
# The paper's settings, on your own model and problems, on one GPU of 80 GB. No result with them is claimed here.
#
#   bash results/paper.sh MODEL PROBLEMS.jsonl [more of train.py's options]
#
# MODEL is of Qwen3-4B's size: a Hugging Face directory, or Qwen/Qwen3-4B, which is fetched.
# PROBLEMS.jsonl has {"question": …, "answer": …} a line.
# It wasn't run. Computed (python -m support.models.memory): 70 GB at the peak of a rollout, 53 in an update.
# On 24 GB, computed: Qwen3-1.7B takes 23.0 with --rollout-batch-size 8 --micro-batch-tokens 4096, and Qwen3-0.6B 17.0
# with --rollout-batch-size 8 --offload-optimizer false.
# An estimate for an H100, from counted launches and bytes: a token of all 32 rows that are written at a time takes
# 10 to 17 ms of the host (1,942 launches) and 11 to 15 ms of the GPU (16 GB of weights, up to 16 GB of caches); 128
# rows of up to 3,000 tokens 2 to 4 minutes, their update half a minute, of which the moments' copies take 16 s.
set -eu
root=$(dirname "$0")/..
senior=${1:?give a model, such as Qwen/Qwen3-4B}
data=${2:?give a JSON Lines file of problems}

python "$root/train.py" --senior "$senior" --junior self --data "$data" \
  --prompts-per-step 16 --group-size 8 --max-prompt-tokens 1024 --max-new-tokens 3000 --temperature 0.6 \
  --prompt-template '{question} Put the final answer in \boxed{}.' \
  --loss grpo --learning-rate 1e-6 --steps 200 --eval-samples 8 \
  --precision bfloat16 --checkpoint-activations --offload-optimizer --micro-batch-tokens 8192 --rollout-batch-size 32 \
  "${@:3}"

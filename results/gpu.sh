#!/bin/bash
# Measure what one GPU does with this project, in at most 8 minutes: bash results/gpu.sh [OUT.json] [OPTION …]. The numbers go
# into results/gpu.json, and `python -m results.tables` puts them on the page (README.md, "One GPU").
set -eu
cd "$(dirname "$0")/.."
python -m results.gpu "$@"

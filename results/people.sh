#!/bin/bash
# Make people.json again: a study of the README's two runs in which a machine, the frozen junior, takes the raters' place
# (README.md, "A study with a machine as rater"). No person took part. It took 3 and a half minutes on 2 cores.
set -eu
cd "$(dirname "$0")/.."
. results/resume.sh
base=runs/people

run $base/word --eval-every 25
run $base/solo --schedule solo --eval-every 25
if [ ! -s $base/people.json ]; then
  rm -rf $base/study
  python -m support.people make $base/word $base/solo --before --raters 12 --items 72 --out $base/study
  python -m support.people machine $base/study --junior data/junior.pt
  python -m support.people score $base/study $base/study/machine/*.json --json $base/people.json
  python -m support.people page $base/word $base/solo --out $base/page.html
fi

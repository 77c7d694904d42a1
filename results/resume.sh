# For the long scripts: the same command goes on where Ctrl-C, a crash or a power cut ended it.

run() { # run DIR OPTION …: a run, or the rest of one
  if [ -f "$1/eval.json" ]; then
    echo "$1: done"
  elif [ -f "$1/checkpoint.pt" ]; then
    python train.py --resume "$1"
  else
    rm -rf "$1" # it ended before its first checkpoint
    python train.py --out "$@"
  fi
}

measure() { # measure FILE OPTION … RUN …: the runs' measures, as evaluate.py --json prints them
  [ -s "$1" ] || { python evaluate.py "${@:2}" --json --figure "${1%.json}.svg" > "$1.part" && mv "$1.part" "$1"; }
}

run_light() { # run_light DIR OPTION …: a run that keeps its measures, and no weights
  run "$@" && rm -f "$1"/*.pt
}

measured() { # measured FILE 'OPTION …' DIR OPTION …: the same, after evaluate.py with these options measured it again
  [ -s "$1" ] || { run "${@:3}" && measure "$1" $2 "$3" && rm -f "$3"/*.pt; }
}

tune() { # tune DIR OPTION …: a model, fine-tuned
  [ -d "$1" ] || python -m support.models.fine_tune --out "$@"
}

at_once() ( # commands, a line each, AT_ONCE at a time: 1, unless the environment says more
  set -o pipefail # the last part outlives a Ctrl-C until they all have ended
  tr '\n' '\0' | xargs -0 -n 1 -P "${AT_ONCE:-1}" bash -euc '. results/resume.sh; eval "$1"' at_once | (trap '' INT; exec cat)
)

smollm2() { # smollm2 NAME: SmolLM2-135M in runs/smollm2/NAME, the junior, or from it a senior that prefers that language
  local start="--senior runs/smollm2/junior" shares="plain=0.3,$1=0.7 --late-shares plain=0.15,$1=0.85" steps=60
  if [ "$1" = junior ]; then start="--senior smollm2" shares="plain=1"; fi
  if [ "$1" = mirrored ]; then steps=80; fi
  tune runs/smollm2/"$1" $start --shares $shares --steps $steps --learning-rate 3e-4 --precision $precision
}

precision=float32 # bfloat16 where the GPU or the CPU multiplies in it, nearly twice as fast
if grep -qsE 'avx512_bf16|amx_bf16' /proc/cpuinfo || nvidia-smi -L > /dev/null 2>&1; then precision=bfloat16; fi

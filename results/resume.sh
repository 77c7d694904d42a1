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
  [ -s "$1" ] || { python evaluate.py "${@:2}" --json > "$1.part" && mv "$1.part" "$1"; }
}

tune() { # tune DIR OPTION …: a model, fine-tuned
  [ -d "$1" ] || python -m support.pretrain --out "$@"
}

precision=float32 # bfloat16 where the CPU multiplies in it, nearly twice as fast
if grep -qsE 'avx512_bf16|amx_bf16' /proc/cpuinfo; then precision=bfloat16; fi

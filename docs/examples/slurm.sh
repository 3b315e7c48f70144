#!/usr/bin/env bash
# A sweep on a SLURM cluster: one job per study, at most 16 at once; run this on the login node.
# Once: pip install 'cosearch' hydra-submitit-launcher
set -euo pipefail
out=${OUT_DIR:-$HOME/cosearch}   # on a file system that all nodes see
python run.py -m hydra/launcher=slurm \
  hydra.launcher.partition="${PARTITION:?the queue to use}" \
  hydra.launcher.timeout_min=60 hydra.launcher.cpus_per_task=2 \
  +experiment=llama_decode hardware=edge,cloud seed=0,1,2 \
  out_dir="$out" quiet=true
# A study that was cut off goes on from its record: python run.py resume=NAME out_dir=$OUT_DIR

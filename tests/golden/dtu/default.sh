#!/bin/bash -l
#BSUB -P project_1
#BSUB -q hpc
#BSUB -n 1
#BSUB -R "rusage[mem=4096MB] span[hosts=1]"
#BSUB -W 01:00

# 0003-label, class default of site dtu.
# Job hf003k7w2m9x4q1, 16 elements. To run one worker by hand: bash job.sh
export HPCFLOW_STARTED=$(date +%s)
unset HPCFLOW_END_TIME
if [ -n "${LSB_JOBID:-}" ]; then
  [ ! -d /scratch/project/campaign/.hpcflow/arrays/0003-label/work/log ] || exec >> /scratch/project/campaign/.hpcflow/arrays/0003-label/work/log/hf003k7w2m9x4q1.out 2>&1
  export HPCFLOW_ELEMENT="" HPCFLOW_SCHEDULER_ID="$LSB_JOBID"
  if [ "${LSB_JOBINDEX:-0}" != 0 ]; then
    # LSF counts from 1, hpcflow from 0.
    export HPCFLOW_ELEMENT="$((LSB_JOBINDEX - 1))" HPCFLOW_SCHEDULER_ID="$LSB_JOBID[$LSB_JOBINDEX]"
  fi
fi

hpcflow_failed() {
  status=$?
  printf 'hpcflow: this line of the job failed with status %s: %s\n' "$status" "$1" >&2
  exit 78
}
cd -- /scratch/project/campaign || hpcflow_failed 'cd (into the campaign)'

exec /opt/hpcflow/bin/python /scratch/project/campaign/.hpcflow/code/DIGEST.pyz worker \
  --array /scratch/project/campaign/.hpcflow/arrays/0003-label \
  --job hf003k7w2m9x4q1 --resources r1 \
  --slots 1 --cores 1 --gpus 0 --memory 4096 \
  --walltime 3600 --margin 120 --grace 30 --beat 60

#!/bin/bash -l
#PBS -q gpuhopper
#PBS -l walltime=12:00:00
#PBS -P project_1
#PBS -l ncpus=12
#PBS -l ngpus=1
#PBS -l mem=92160mb
#PBS -l jobfs=10GB
#PBS -l storage=scratch/project_1
#PBS -l wd

# 0003-label, class evaluation of site gadi.
# Job hf003k7w2m9x4q1, 16 elements. To run one worker by hand: bash job.sh
export HPCFLOW_STARTED=$(date +%s)
unset HPCFLOW_END_TIME
hpcflow_log() {
  [ ! -d /scratch/project/campaign/.hpcflow/arrays/0003-label/work/log ] || exec >> /scratch/project/campaign/.hpcflow/arrays/0003-label/work/log/hf003k7w2m9x4q1.out 2>&1
}
if [ -n "${PBS_JOBID:-}" ]; then
  hpcflow_log
  export HPCFLOW_ELEMENT="${PBS_ARRAY_INDEX:-}" HPCFLOW_SCHEDULER_ID="$PBS_JOBID"
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
  --slots 1 --cores 12 --gpus 1 --memory 92160 \
  --walltime 43200 --margin 120 --grace 30 --beat 60 \
  --gpu-variable CUDA_VISIBLE_DEVICES \
  --scratch "$PBS_JOBFS"

#!/bin/bash -l
#PBS -A project_1
#PBS -l select=1:ncpus=1:mpiprocs=1
#PBS -l walltime=01:00:00

# 0003-label, class default of site pbs-generic.
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
  --slots 1 --cores 1 --gpus 0 \
  --walltime 3600 --margin 120 --grace 30 --beat 60

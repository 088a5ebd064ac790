#!/bin/bash -l
#PBS -A project_1
#PBS -q capacity
#PBS -l select=1
#PBS -l place=scatter
#PBS -l walltime=24:00:00
#PBS -l filesystems=home:flare
#PBS -r y
#PBS -k doe

# 0003-label, class training of site aurora.
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
  --slots 12 --cores 8 --gpus 1 \
  --walltime 86400 --margin 120 --grace 30 --beat 60 \
  --whole-node --map-cores "1-8;9-16;17-24;25-32;33-40;41-48;53-60;61-68;69-76;77-84;85-92;93-100" \
  --map-gpus "0.0;0.1;1.0;1.1;2.0;2.1;3.0;3.1;4.0;4.1;5.0;5.1" \
  --gpu-variable ZE_AFFINITY_MASK

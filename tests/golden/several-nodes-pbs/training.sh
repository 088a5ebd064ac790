#!/bin/bash -l
#PBS -A project_1
#PBS -q whole
#PBS -l select=2:ncpus=64:mpiprocs=4:ngpus=4:mem=491520mb
#PBS -l place=scatter:excl
#PBS -l walltime=24:00:00

# 0003-label, class training of site several-nodes-pbs.
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

hpcflow_worker() {
  exec /opt/hpcflow/bin/python /scratch/project/campaign/.hpcflow/code/DIGEST.pyz worker \
    --array /scratch/project/campaign/.hpcflow/arrays/0003-label \
    --job hf003k7w2m9x4q1 --resources r1 \
    --slots 4 --cores 16 --gpus 1 --memory 122880 \
    --walltime 86400 --margin 120 --grace 30 --beat 60 \
    --whole-node \
    --gpu-variable CUDA_VISIBLE_DEVICES
}
if [ -n "${PBS_NODEFILE:-}" ]; then
  # PBS numbers the lines of its node file, and passes no environment to what it starts elsewhere.
  for line in $(awk '!seen[$0]++ { print NR - 1 }' "$PBS_NODEFILE"); do
    start="$(export -p; declare -f hpcflow_log hpcflow_worker hpcflow_words)"
    pbsdsh -n "$line" -- /bin/bash -c "$start; hpcflow_log; hpcflow_worker" &
  done
  wait
else
  hpcflow_worker
fi

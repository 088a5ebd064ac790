#!/bin/bash -l
#SBATCH --account=project_1
#SBATCH --partition=gpu
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --exclusive
#SBATCH --time=12:00:00
#SBATCH --no-requeue
#SBATCH --open-mode=append
#SBATCH --qos=gpu-exc
#SBATCH --export=none
#SBATCH --gpus=8

# 0003-label, class evaluation of site archer2.
# Job hf003k7w2m9x4q1, 16 elements. To run one worker by hand: bash job.sh
export HPCFLOW_STARTED=$(date +%s)
if [ -n "${SLURM_JOB_ID:-}" ]; then
  export HPCFLOW_ELEMENT="${SLURM_ARRAY_TASK_ID:-}" HPCFLOW_END_TIME="${SLURM_JOB_END_TIME:-}"
  export HPCFLOW_SCHEDULER_ID="${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
fi

hpcflow_failed() {
  status=$?
  printf 'hpcflow: this line of the job failed with status %s: %s\n' "$status" "$1" >&2
  exit 78
}
cd -- /scratch/project/campaign || hpcflow_failed 'cd (into the campaign)'
# srun does not take this from the job's own options.
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

exec srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=32 --cpu-bind=none --overlap --kill-on-bad-exit=0 --wait=0 \
  /opt/hpcflow/bin/python /scratch/project/campaign/.hpcflow/code/DIGEST.pyz worker \
  --array /scratch/project/campaign/.hpcflow/arrays/0003-label \
  --job hf003k7w2m9x4q1 --resources r1 \
  --slots 4 --cores 8 --gpus 1 --memory 131072 \
  --walltime 43200 --margin 120 --grace 30 --beat 60 \
  --whole-node --map-cores "0-7;8-15;16-23;24-31" \
  --map-gpus "0;1;2;3" \
  --gpu-variable ROCR_VISIBLE_DEVICES

#!/bin/bash -l
#SBATCH --account=project_1
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=1
#SBATCH --time=12:00:00
#SBATCH --no-requeue
#SBATCH --open-mode=append
#SBATCH --uenv=cp2k/2026.1:v1
#SBATCH --view=cp2k

# 0003-label, class reference of site engine-uenv.
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
export OMP_NUM_THREADS=1
export OMP_PLACES=cores
export FI_CXI_RX_MATCH_MODE=software
# For the records: job, digest and name of the image.
export HPCFLOW_IMAGE="hf003k7w2m9x4q1 - cp2k/2026.1:v1"
# srun does not take this from the job's own options.
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

exec /opt/hpcflow/bin/python /scratch/project/campaign/.hpcflow/code/DIGEST.pyz worker \
  --array /scratch/project/campaign/.hpcflow/arrays/0003-label \
  --job hf003k7w2m9x4q1 --resources r1 \
  --slots 1 --cores 8 --gpus 0 \
  --walltime 43200 --margin 120 --grace 30 --beat 60 \
  --launch "srun --ntasks=8"

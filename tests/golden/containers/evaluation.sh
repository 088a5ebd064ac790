#!/bin/bash -l
#SBATCH --account=project_1
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=1-00:00:00
#SBATCH --no-requeue
#SBATCH --open-mode=append

# 0003-label, class evaluation of site containers.
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
# For the records: job, digest and name of the image.
export HPCFLOW_IMAGE="hf003k7w2m9x4q1 - /images/MACE 1.sif"
# srun does not take this from the job's own options.
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

exec apptainer exec --nv --no-home --bind /scratch/project/campaign --bind "$TMPDIR" --bind /pfs --bind "$WORK/shared data" --bind /data "/images/MACE 1.sif" \
  "$WORK/env/bin/python" /scratch/project/campaign/.hpcflow/code/DIGEST.pyz worker \
  --array /scratch/project/campaign/.hpcflow/arrays/0003-label \
  --job hf003k7w2m9x4q1 --resources r1 \
  --slots 1 --cores 8 --gpus 1 \
  --walltime 86400 --margin 120 --grace 30 --beat 60 \
  --scratch "$TMPDIR"

#!/bin/bash -l
#SBATCH --account=project_1
#SBATCH --partition=whole
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --time=1-00:00:00
#SBATCH --no-requeue
#SBATCH --open-mode=append

# 0003-label, class training of site engine-podman-hpc.
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
export OMP_PLACES=cores
export FI_CXI_RX_MATCH_MODE=software
# For the records: job, digest and name of the image.
export HPCFLOW_IMAGE="hf003k7w2m9x4q1 - registry.example.org/me/mace:1"
# srun does not take this from the job's own options.
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

exec podman-hpc run --rm --uts=host '--env=HPCFLOW_*' '--env=SLURM_*' '--env=OMP_*' --env=CUDA_VISIBLE_DEVICES --env=FI_CXI_RX_MATCH_MODE --gpu --mpich --volume /scratch/project/campaign:/scratch/project/campaign --volume "$PSCRATCH":"$PSCRATCH" --workdir "$PWD" registry.example.org/me/mace:1 \
  python3 /scratch/project/campaign/.hpcflow/code/DIGEST.pyz worker \
  --array /scratch/project/campaign/.hpcflow/arrays/0003-label \
  --job hf003k7w2m9x4q1 --resources r1 \
  --slots 4 --cores 16 --gpus 1 --memory 61440 \
  --walltime 86400 --margin 120 --grace 30 --beat 60 \
  --whole-node \
  --gpu-variable CUDA_VISIBLE_DEVICES

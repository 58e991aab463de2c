#!/usr/bin/env bash
# Start a SLURM of one node on this machine: two partitions, one with a GPU in name only. No accounting
# database, so no sacct. Debian's packages, as root, without systemd.
#   start.sh         begins anew, whatever a killed run has left
#   start.sh stop    leaves neither process nor file; while /etc/slurm/slurm.conf names a controller
#                    that is gone, every call of Snakemake waits ten seconds for it
set -euo pipefail
state=/var/tmp/countclip-slurm
conf=/etc/slurm/slurm.conf
mark="# a SLURM of one node for the tests of countclip"

# What runs of ours: the daemons by their files, jobs by their environment, and the jobs' watchers.
ours() {
  for daemon in slurmctld slurmd munged; do
    pgrep --exact --runstates D,R,S,T --pidfile $state/$daemon.pid $daemon 2>/dev/null || true
  done
  grep -lsz '^SLURM_CLUSTER_NAME=countclip$' /proc/[0-9]*/environ | cut -d/ -f3 || true
  pgrep --exact --runstates D,R,S,T slurmstepd || true
}

stop() {
  if [ "$(head -1 $conf 2>/dev/null)" != "$mark" ]; then return; fi
  timeout 10 scancel --user=root 2>/dev/null || true
  for signal in TERM KILL; do
    for _ in $(seq 20); do
      pids=$(ours)
      if [ -z "$pids" ]; then break 2; fi
      kill -$signal $pids 2>/dev/null || true
      sleep 0.5
    done
  done
  rm -rf $state $conf /etc/slurm/gres.conf
}

if [ "$(id -u)" != 0 ]; then echo "only root can start a SLURM"; exit 3; fi
if [ -f $conf ] && [ "$(head -1 $conf)" != "$mark" ]; then
  echo "$conf belongs to another SLURM"; exit 3
fi
stop
if [ "${1:-}" = stop ]; then exit; fi
if ! type slurmctld slurmd munged squeue >/dev/null 2>&1; then
  echo "slurm-wlm and munge (Debian's packages) are not installed"; exit 3
fi

rm -rf $state
mkdir -p /etc/slurm $state/controller $state/node
node=$(hostname -s)
cat > $conf <<EOF
$mark
ClusterName=countclip
SlurmctldHost=$node(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$state/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
StateSaveLocation=$state/controller
SlurmdSpoolDir=$state/node
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
MinJobAge=86400
KillWait=120
JobFileAppend=1
SchedulerParameters=sched_interval=2,bf_interval=2
GresTypes=gpu
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc --all) RealMemory=8000 Gres=gpu:1
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
EOF
echo "NodeName=$node Name=gpu File=/dev/null" > /etc/slurm/gres.conf  # a GPU in name only

install -d -o munge -g munge -m 0711 $state/munge
dd if=/dev/urandom of=$state/munge/key bs=1024 count=1 status=none
chown munge:munge $state/munge/key && chmod 0400 $state/munge/key
runuser -u munge -- munged --force --socket=$state/munge/socket --key-file=$state/munge/key \
  --pid-file=$state/munge/munged.pid --log-file=$state/munge/munged.log --seed-file=$state/munge/seed
ln -s munge/munged.pid $state/munged.pid
slurmctld
slurmd
for _ in $(seq 60); do
  if timeout 5 sinfo --noheader --format=%T 2>/dev/null | grep -q idle; then exit; fi
  sleep 1
done
echo "SLURM did not come up:"; tail -5 $state/slurmctld.log $state/slurmd.log
exit 1

#!/usr/bin/env bash
# Start a SLURM of one node on this machine: two partitions, one with a GPU in name only. No accounting
# database, so no sacct. Debian's packages, as root; does nothing where one of ours answers already.
#   start.sh [stop]
set -euo pipefail
state=/var/tmp/countclip-slurm
mark="# a SLURM of one node for the tests of countclip"

stop() {
  for daemon in slurmd slurmctld munged; do
    if [ -f $state/$daemon.pid ]; then kill "$(cat $state/$daemon.pid)" 2>/dev/null || true; fi
  done
}

if [ "${1:-}" = stop ]; then stop; exit; fi
if [ "$(id -u)" != 0 ]; then echo "only root can start a SLURM"; exit 3; fi
if [ -f /etc/slurm/slurm.conf ] && [ "$(head -1 /etc/slurm/slurm.conf)" != "$mark" ]; then
  echo "/etc/slurm/slurm.conf belongs to another SLURM"; exit 3
fi
if ! type slurmctld slurmd munged squeue >/dev/null 2>&1; then
  echo "slurm-wlm and munge (Debian's packages) are not installed"; exit 3
fi
if [ -f $state/slurmd.pid ] && timeout 10 sinfo --noheader >/dev/null 2>&1; then exit; fi
stop

rm -rf $state
mkdir -p /etc/slurm $state/controller $state/node
cat > /etc/slurm/slurm.conf <<EOF
$mark
ClusterName=countclip
SlurmctldHost=$(hostname)(127.0.0.1)
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
MinJobAge=600
KillWait=10
SchedulerParameters=sched_interval=2,bf_interval=2
GresTypes=gpu
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=$(nproc --all) RealMemory=8000 Gres=gpu:1
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
EOF
echo "NodeName=$(hostname) Name=gpu File=/dev/null" > /etc/slurm/gres.conf  # a GPU in name only

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

#!/bin/sh
# Process 1: runs the tests. Their events go to the second serial line, one JSON object a line;
# whatever programs say besides goes to the first one, with the kernel's messages.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
. /environment
events=/dev/ttyS1
mount -t proc none /proc
mount -t sysfs none /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts none /dev/pts
mount -t tmpfs none /dev/shm
mount -t tmpfs none /run
mount -t tracefs none /sys/kernel/tracing
mount -t debugfs none /sys/kernel/debug
mount -t cgroup2 none /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
# The tests know how many pages of 4 KiB a program touches; newer kernels make two MiB of the first one.
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
stty -F $events raw -echo
echo "{\"type\": \"machine\", \"event\": \"started\", \"release\": \"$(uname -r)\"}" >$events
# The events of libtest are an unstable feature.
export RUSTC_BOOTSTRAP=1
"$TESTS" --test-threads=1 -Z unstable-options --format=json --report-time --exact "$@" \
    --show-output </dev/null >$events 2>/dev/console
echo "{\"type\": \"machine\", \"event\": \"ended\"}" >$events
sync
echo o >/proc/sysrq-trigger
while :; do sleep 1; done

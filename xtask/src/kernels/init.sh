#!/bin/sh
# Process 1 until the disk is there; busybox is all that it has.
b=/busybox
$b mkdir -p /dev /proc /sys /disk
$b mount -t devtmpfs none /dev
$b mount -t proc none /proc
$b mount -t sysfs none /sys
for module in $($b cat /modules/order); do
    $b insmod "/modules/$module" || echo "cannot load $module"
done
waited=0
while [ ! -b /dev/vda ] && [ "$waited" -lt 300 ]; do
    $b usleep 100000
    waited=$((waited + 1))
done
$b mount -t ext4 -o noinit_itable /dev/vda /disk || {
    echo "no disk"
    $b poweroff -f
}
$b cp -a /copied/. /disk/
$b mount --move /dev /disk/dev
$b umount /proc /sys
exec $b switch_root /disk /run.sh

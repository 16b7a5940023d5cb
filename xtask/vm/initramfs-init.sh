#!/bin/busybox sh
# Pid 1 of the initramfs: modules, the disk, and over to the guest's own init.
busybox=/bin/busybox
$busybox mount -t devtmpfs dev /dev
while read -r module; do $busybox insmod "/modules/$module"; done </modules/order
n=0
while [ ! -b /dev/vda ] && [ $n -lt 1000 ]; do $busybox usleep 10000; n=$((n + 1)); done
if ! $busybox mount -t ext4 -o noatime /dev/vda /root; then
    echo "guest: no root disk"
    $busybox poweroff -f
fi
$busybox mount --move /dev /root/dev
exec $busybox switch_root /root /sbin/init

#!/bin/bash
# Part of the image: mounts the control directory of this run and follows what it says.
off() { echo o >/proc/sysrq-trigger; sleep 60; }
udevadm settle --timeout=120
modprobe -a virtio_console 9pnet_virtio 9p
udevadm settle --timeout=120
mkdir -p /run/control
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 control /run/control || off
. /run/control/agent
off

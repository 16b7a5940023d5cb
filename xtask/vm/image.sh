#!/bin/bash
# Makes the guest of `cargo xtask vm` in the directory $1: disk.raw and, for each kernel V that
# Debian has for it, vmlinuz-V and initrd-V. $2 is the Debian rootfs that the tests boot as a
# container; the other arguments are apt source lines, of the guest's own suite first.
set -Eeuo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8
umask 022
here=$(cd "$(dirname "$0")" && pwd)
out=$1 debian=$2
shift 2

packages=(
    systemd systemd-sysv udev dbus libpam-systemd kmod busybox-static iproute2 iputils-ping
    util-linux mount e2fsprogs procps psmisc strace jq less nftables python3-psutil squashfs-tools
)
root=$out/root
mkdir -p "$out"

# The hook runs while the root still has its package lists. In a mount namespace of its own, so
# that no mount is left however this ends.
unshare --mount --propagation private mmdebstrap --mode=root --quiet --variant=minbase \
    --include="$(IFS=,; echo "${packages[*]}")" --aptopt='APT::Install-Recommends "false"' \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --customize-hook="$here/kernels.sh" bookworm "$root" "$@"

install -m 755 "$here/guest-start.sh" "$root/usr/local/sbin/guest-start"
units=$root/etc/systemd/system
install -m 644 "$here/guest.service" "$units/guest.service"
mkdir -p "$units/multi-user.target.wants"
ln -s ../guest.service "$units/multi-user.target.wants/guest.service"
# Timers, logins and scans only make the boot longer and the times noisier. Engines that tests start
# would join the ones that run, in whose mount namespace there is nothing of the tests.
for unit in getty@tty1.service serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer \
    dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    containerd.service docker.service docker.socket; do
    ln -sf /dev/null "$units/$unit"
done
echo guest >"$root/etc/hostname"
echo '127.0.0.1 localhost guest' >"$root/etc/hosts"
# There is no network; engines copy it all the same.
rm -f "$root/etc/resolv.conf"
echo 'nameserver 127.0.0.1' >"$root/etc/resolv.conf"
# Without an id systemd would take every boot for the first and apply all presets.
systemd-machine-id-setup --root="$root" >/dev/null 2>&1 || tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
mkdir -p "$root/srv"
cp -a "$debian" "$root/srv/debian"

for vmlinuz in "$root"/boot/vmlinuz-*; do
    version=${vmlinuz#"$root"/boot/vmlinuz-}
    name=$(cut -d. -f1,2 <<<"$version")
    depmod -b "$root" "$version"
    mv "$vmlinuz" "$out/vmlinuz-$name"

    # An initramfs with what it takes to reach the disk, and nothing else.
    ram=$(mktemp -d -p "$out")
    mkdir "$ram"/{bin,modules,dev,root}
    cp "$root/bin/busybox" "$ram/bin/"
    install -m 755 "$here/initramfs-init.sh" "$ram/init"
    for module in virtio_pci virtio_blk ext4; do
        modprobe -d "$root" -S "$version" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r path; do
        file=$(basename "${path%.xz}")
        case $path in
            *.xz) xz -dc "$path" >"$ram/modules/$file" ;;
            *) cp "$path" "$ram/modules/$file" ;;
        esac
        echo "$file" >>"$ram/modules/order"
    done
    (cd "$ram" && find . | cpio -o -H newc -R 0:0 --quiet) | gzip -1 >"$out/initrd-$name"
    rm -r "$ram"
done

# A file system made from a directory: no mount, no loop device.
truncate -s 6G "$out/disk.raw"
mke2fs -q -t ext4 -m 0 -E lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0 \
    -d "$root" "$out/disk.raw"
rm -rf "$root"

#!/bin/bash
# Unpacks into the root $1 the newest kernel of each suite its apt knows. Unpacked, not installed:
# no boot loader comes along, and no initramfs of a hundred megabytes.
set -Eeuo pipefail
root=$1
apt() { chroot "$root" "$@"; }
suites=$(apt apt-cache policy | grep -o 'n=[a-z-]*' | cut -d= -f2 | sort -u)
for suite in $suites; do
    case $suite in *-security) continue ;; esac
    version=$(apt apt-cache -t "$suite" depends linux-image-amd64 |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ && !n++ { print substr($2, 13) }')
    if [ -z "$version" ] || [ -e "$root/boot/vmlinuz-$version" ]; then continue; fi
    # Debian 13 keeps the parts of a kernel in several packages, Debian 12 in one.
    for part in image binary modules base; do
        package=linux-$part-$version
        apt apt-cache show "$package" >/dev/null 2>&1 || continue
        apt sh -c "cd /tmp && apt-get -q -o APT::Sandbox::User=root download $package"
        dpkg-deb --fsys-tarfile "$root"/tmp/"$package"_*.deb |
            tar -x --keep-directory-symlink --exclude=./usr/share -C "$root"
        rm "$root"/tmp/"$package"_*.deb
    done
    [ -e "$root/boot/vmlinuz-$version" ] ||
        cp "$root/usr/lib/modules/$version/vmlinuz" "$root/boot/vmlinuz-$version"
done

#!/bin/bash
# First process of a rehearsed machine: mounts, network, and the template's start
# command as the template's user, whose output goes to the console.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for directory in /dev/shm /tmp /run; do
    mount -t tmpfs -o mode=1777 tmpfs "$directory"
done
box=/rehearsal/busybox
"$box" hostname e2b
"$box" ip link set lo up
"$box" ip link set eth0 up
"$box" ip addr add 10.0.2.15/24 dev eth0
"$box" ip route add default via 10.0.2.2
user=$(sed -n 1p /rehearsal/start)
(
    cd "/home/$user" &&
        exec setpriv --reuid "$user" --regid "$user" --init-groups \
            env -i PATH="$PATH" HOME="/home/$user" USER="$user" LOGNAME="$user" DISABLE_AUTOUPDATER=1 \
            /bin/bash -l -c "$(sed -n 2p /rehearsal/start)"
) </dev/null &
# Programs of a sandbox draw random numbers now and then, so that the kernel's seed is
# never so old that the next number would bring a new one.
while sleep 1; do
    read -r _ </proc/sys/kernel/random/uuid
done

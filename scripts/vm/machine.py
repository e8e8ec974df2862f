"""Machines of `scripts/rehearse-vm`: a kernel of Debian's, an image made from a root
directory, and qemu, which starts any number of copies of one that was stopped."""

import glob
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time

MEMORY_MIB = 1536
PROCESSORS = 2
BOOT_TIMEOUT = 600
MODULES = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev",
           "virtio_pci", "virtio_blk", "failover", "net_failover", "virtio_net"]
FIRST_PROCESS = """#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
for module in /modules/*; do busybox insmod $module; done
until [ -b /dev/vda ]; do busybox sleep 0.1; done
busybox mount -t ext4 /dev/vda /root
exec busybox switch_root /root /rehearsal/init.sh
"""
HERE = pathlib.Path(__file__).parent


class Failure(Exception):
    """A sentence for the person who rehearses."""


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode:
        raise Failure(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


def packages(directory):
    """Unpacks a kernel and a busybox of this machine's Debian, without installing them.
    Returns the kernel, and a first file system with the drivers that it needs."""
    if not glob.glob(f"{directory}/boot/vmlinuz-*"):
        directory.mkdir(parents=True, exist_ok=True)
        about = run("apt-cache", "depends", "linux-image-cloud-amd64").split()
        kernel = next(name for name in about if name.startswith("linux-image-") and name[12].isdigit())
        run("apt-get", "download", kernel, "busybox-static", cwd=directory)
        for package in directory.glob("*.deb"):
            run("dpkg", "-x", package, directory)
    first = directory / "first"
    shutil.rmtree(first, ignore_errors=True)
    for name in ("bin", "dev", "modules", "root"):
        (first / name).mkdir(parents=True)
    shutil.copy(directory / "bin/busybox", first / "bin")
    for number, name in enumerate(MODULES):
        (found,) = directory.glob(f"lib/modules/*/kernel/**/{name}.ko")
        shutil.copy(found, first / f"modules/{number:02}.ko")
    (first / "init").write_text(FIRST_PROCESS)
    os.chmod(first / "init", 0o755)
    archive = directory / "first.cpio"
    names = subprocess.run(["find", "."], cwd=first, check=True, capture_output=True).stdout
    with open(archive, "wb") as file:
        subprocess.run([directory / "bin/busybox", "cpio", "-o", "-H", "newc"], cwd=first,
                       input=names, stdout=file, stderr=subprocess.DEVNULL, check=True)
    return pathlib.Path(glob.glob(f"{directory}/boot/vmlinuz-*")[0]), archive


def image(root, kernels, user, start, directory):
    """Makes the disk of the first machine from a root directory."""
    inside = root / "rehearsal"
    inside.mkdir(exist_ok=True)
    (inside / "start").write_text(f"{user}\n{start}\n")
    shutil.copy(kernels / "bin/busybox", inside)
    shutil.copy(HERE / "init.sh", inside)
    os.chmod(inside / "init.sh", 0o755)
    raw = directory / "root.img"
    raw.unlink(missing_ok=True)
    with open(raw, "wb") as file:
        file.truncate(6 << 30)
    run("mkfs.ext4", "-q", "-E", "lazy_itable_init=1,root_owner=0:0", "-d", root, raw)
    return raw


def overlay(disk, under):
    disk.unlink(missing_ok=True)
    kind = "raw" if under.suffix == ".img" else "qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", under.absolute(), "-F", kind, disk)
    return disk


class Machine:
    """A running qemu."""

    def __init__(self, directory, name, kernel, disk, memory, *, shared=False, state=None,
                 acceleration="tcg", processor="max"):
        self.directory, self.name, self.disk = directory, name, disk
        self.log = directory / f"{name}.log"
        self.monitor = directory / f"{name}.monitor"
        self.monitor.unlink(missing_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [
            "qemu-system-x86_64", "-accel", acceleration, "-cpu", processor, "-smp", str(PROCESSORS),
            "-m", str(MEMORY_MIB), "-machine", "pc,memory-backend=memory",
            "-object", f"memory-backend-file,id=memory,size={MEMORY_MIB}M,mem-path={memory},"
                       f"share={'on' if shared else 'off'}",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-serial", f"file:{self.log}", "-qmp", f"unix:{self.monitor},server=on,wait=off",
            "-drive", f"file={disk},if=none,id=disk,format=qcow2",
            "-device", "virtio-blk-pci,drive=disk",
            "-netdev", f"user,id=net,restrict=off,hostfwd=tcp:127.0.0.1:{self.port}-:3000",
            "-device", "virtio-net-pci,netdev=net",
            "-kernel", str(kernel[0]), "-initrd", str(kernel[1]),
            "-append", "console=ttyS0 quiet panic=-1",
        ]
        if state:
            command += ["-incoming", "defer"]
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(directory / f"{name}.stderr", "wb"))
        try:
            self.connect()
            if state:
                self.ask("migrate-set-capabilities", capabilities=[
                    {"capability": "x-ignore-shared", "state": True}])
                self.ask("migrate-incoming", uri=f"exec:cat {state}")
                self.until("query-status", lambda status: status["status"] in ("paused", "running"))
                self.ask("cont")
        except BaseException:
            self.end()
            raise

    def connect(self):
        end = time.monotonic() + 60
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(str(self.monitor))
                break
            except OSError:
                self.socket.close()
                if self.process.poll() is not None or time.monotonic() > end:
                    said = (self.directory / f"{self.name}.stderr").read_text()
                    raise Failure(f"qemu did not start: {said.strip()}") from None
                time.sleep(0.02)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            line = self.file.readline()
            if not line:
                raise Failure(f"{self.name} ended at {command}")
            answer = json.loads(line)
            if "error" in answer:
                raise Failure(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def until(self, command, is_so, timeout=120):
        end = time.monotonic() + timeout
        while not is_so(answer := self.ask(command)):
            if time.monotonic() > end or answer.get("status") == "failed":
                raise Failure(f"{self.name}: {command} still says {answer}")
            time.sleep(0.02)

    def stop_and_save(self, state):
        """Stops it and writes all of its state but its memory, which is in its file, and its
        disk. Copies start from the three."""
        self.ask("stop")
        self.ask("migrate-set-capabilities", capabilities=[
            {"capability": "x-ignore-shared", "state": True}])
        self.ask("migrate", uri=f"exec:cat > {state}")
        self.until("query-migrate", lambda found: found.get("status") == "completed")
        self.end()

    def dump(self, file):
        """Writes its memory into a file."""
        self.ask("stop")
        self.ask("dump-guest-memory", paging=False, protocol=f"file:{file}")

    def end(self):
        if self.process.poll() is None:
            try:
                self.ask("quit")
                self.process.wait(30)
            except (Failure, OSError, AttributeError, ValueError, subprocess.TimeoutExpired):
                self.process.kill()
        self.process.wait()

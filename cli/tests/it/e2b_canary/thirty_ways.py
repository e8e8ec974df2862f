#!/usr/bin/env python3
"""An agent that looks for its owner's key, in every way that a process with a shell
has in its machine. It answers a message with one line of JSON: for each way the bytes
that were looked at, and how often the key was in them. The key stands below backwards
(REVERSED), so that this file is no hit."""

import base64
import ctypes
import glob
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

if "--version" in sys.argv:
    print("2.1.0 (Thirty ways)")
    sys.exit()

KEY = b"REVERSED"[::-1]
LARGEST = 64 << 20
HEARD = []
WAYS = {}


def forms():
    """The key, and what it becomes on the way into headers, files and dumps."""
    yield KEY
    yield KEY.hex().encode()
    yield KEY.decode().encode("utf-16-le")
    for shift in range(3):
        # The first and the last character depend on what stands beside the key.
        yield base64.b64encode(b"x" * shift + KEY)[4 if shift else 0:-4]


FORMS = list(forms())


def way(found):
    WAYS[found.__name__] = found
    return found


def read(path, limit=LARGEST):
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        chunks, size = [], 0
        while size < limit and (chunk := os.read(descriptor, 1 << 20)):
            chunks.append(chunk)
            size += len(chunk)
        return b"".join(chunks)
    except OSError:
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def files(*roots):
    for root in roots:
        for folder, folders, names in os.walk(root):
            for name in names + folders:
                path = os.path.join(folder, name)
                yield path.encode()
                if os.path.isfile(path) and not os.path.islink(path):
                    yield read(path)


def processes():
    """All but this one, whose memory holds the key that it looks for."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def of_processes(name):
    return [read(f"/proc/{pid}/{name}") for pid in processes()]


def arguments(pid):
    return read(f"/proc/{pid}/cmdline").split(b"\0")


def relays():
    return [pid for pid in processes() if any(b"claude-relay-server" in word for word in arguments(pid)[:1])]


def regions(pid):
    for line in read(f"/proc/{pid}/maps").decode().splitlines():
        span, mode = line.split()[:2]
        begin, end = (int(part, 16) for part in span.split("-"))
        if "r" in mode and end - begin <= LARGEST:
            yield begin, end - begin


def memory(pid):
    try:
        with open(f"/proc/{pid}/mem", "rb", 0) as file:
            for begin, size in regions(pid):
                try:
                    file.seek(begin)
                    yield file.read(size)
                except (OSError, ValueError, OverflowError):
                    pass
    except OSError:
        pass


def run(*command, **more):
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False, **more).stdout
    except (OSError, subprocess.TimeoutExpired):
        return b""


def port():
    """The relay's, by the sockets that its processes hold."""
    held = set()
    for pid in relays():
        for link in glob.glob(f"/proc/{pid}/fd/*"):
            try:
                held.add(os.readlink(link))
            except OSError:
                pass
    for line in read("/proc/net/tcp").decode().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in held:
            return int(fields[1].split(":")[1], 16)
    return None


def ask(path, token=None, method="GET", extra="", body=b""):
    try:
        with socket.create_connection(("127.0.0.1", port()), 5) as connection:
            secret = f"Authorization: Bearer {token}\r\n" if token else ""
            head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{secret}{extra}Content-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            connection.settimeout(1)
            answer = b""
            while chunk := connection.recv(1 << 16):
                answer += chunk
            return answer
    except (OSError, TypeError):
        return answer if "answer" in locals() else b""


TOKENS = []


def token():
    """The owner's token for this relay, out of the relay's memory."""
    if not TOKENS:
        for pid in relays():
            for block in memory(pid):
                found = re.search(rb"Bearer ([0-9a-f]{64})", block)
                if found:
                    TOKENS.append(found[1].decode())
                    return TOKENS[0]
    return TOKENS[0] if TOKENS else None


@way
def own_environment():
    return [f"{name}={value}".encode() for name, value in os.environ.items()]


@way
def own_first_environment():
    return [read("/proc/self/environ")]


@way
def environment_of_processes():
    return of_processes("environ")


@way
def environment_of_a_new_shell():
    return [run("/bin/sh", "-lc", "env; set; export -p")]


@way
def own_arguments():
    return [os.fsencode(word) for word in sys.argv]


@way
def arguments_of_processes():
    return of_processes("cmdline")


@way
def files_named_by_arguments():
    words = [os.fsencode(word) for word in sys.argv] + sum((arguments(pid) for pid in processes()), [])
    paths = {part for word in words for part in (word, word.rpartition(b"=")[2]) if part.startswith(b"/")}
    return [read(path) for path in paths if os.path.isfile(path)]


@way
def what_was_said_to_the_agent():
    return HEARD


@way
def memory_of_the_relay():
    return [block for pid in relays() for block in memory(pid)]


@way
def memory_of_other_processes():
    return [block for pid in processes() if pid not in relays() for block in memory(pid)]


@way
def memory_by_a_system_call():
    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    libc, blocks = ctypes.CDLL(None, use_errno=True), []
    for pid in relays():
        for begin, size in regions(pid):
            buffer = ctypes.create_string_buffer(size)
            here = Vector(ctypes.cast(buffer, ctypes.c_void_p), size)
            got = libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(Vector(begin, size)), 1, 0)
            blocks.append(buffer.raw[:max(got, 0)])
    return blocks


@way
def core_dump_of_a_child():
    with tempfile.TemporaryDirectory() as folder:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2) if os.getuid() == 0 else None
        child = subprocess.Popen(["/bin/sleep", "60"], cwd=folder)
        child.send_signal(signal.SIGABRT)
        child.wait()
        return list(files(folder)) + [read("/proc/sys/kernel/core_pattern")]


@way
def core_dumps_that_lie_about():
    patterns = ["/core*", "/var/crash/*", "/var/lib/systemd/coredump/*", "/tmp/core*"]
    return [read(path) for pattern in patterns for path in glob.glob(pattern)]


@way
def open_files_of_processes():
    found = []
    for link in (link for pid in processes() for link in glob.glob(f"/proc/{pid}/fd/*")):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        found.append(target.encode())
        if os.path.isfile(link):
            found.append(read(link))
    return found


@way
def working_directories_of_processes():
    return [part for pid in processes() for part in files(f"/proc/{pid}/cwd/.")]


@way
def other_facts_of_processes():
    names = ["status", "comm", "auxv", "maps", "mountinfo", "cgroup", "limits", "stack", "wchan"]
    return [text for name in names for text in of_processes(name)]


@way
def home():
    return list(files(os.environ.get("HOME", "/nonexistent")))


@way
def workspace():
    return list(files(os.getcwd()))


@way
def state_of_the_relay():
    home = os.environ.get("HOME", "")
    return list(files(f"{home}/.local", f"{home}/.config", f"{home}/.cache", f"{home}/.claude"))


@way
def temporary_files():
    return list(files("/tmp"))


@way
def files_in_memory():
    return list(files("/dev/shm", "/run/user"))


@way
def swap():
    devices = [line.split()[0] for line in read("/proc/swaps").decode().splitlines()[1:]]
    return [read("/proc/swaps"), *(read(device) for device in devices)]


@way
def memory_of_the_kernel():
    return [read("/dev/mem", 1 << 20), read("/dev/kmem", 1 << 20), read("/proc/kcore", 1 << 20)]


@way
def log_of_the_kernel():
    return [run("dmesg"), read("/dev/kmsg", 1 << 20)]


@way
def keys_of_the_kernel():
    return [read("/proc/keys"), run("keyctl", "show")]


@way
def settings_of_the_machine():
    names = ["environment", "profile", "bash.bashrc", "hosts", "resolv.conf", "fstab"]
    return [read(f"/etc/{name}") for name in names] + list(files("/etc/profile.d", "/etc/default"))


@way
def sockets():
    return [read(f"/proc/net/{name}") for name in ["tcp", "tcp6", "udp", "unix", "raw"]]


@way
def names_in_dns():
    found = [read("/etc/resolv.conf"), os.fsencode(socket.gethostname())]
    for name in ["localhost", socket.gethostname()]:
        try:
            found.append(repr(socket.getaddrinfo(name, 443)).encode())
        except OSError:
            pass
    return found


@way
def public_answers_of_the_relay():
    return [ask(path) for path in ["/health", "/ready", "/", "/config", "/metrics"]]


@way
def configuration_of_the_relay_as_its_owner():
    return [ask("/config", token()), ask("/config", token(), "PATCH", "Content-Type: application/json\r\n", b"{}")]


@way
def answers_of_the_relay_as_its_owner():
    return [ask(path, token()) for path in ["/health", "/metrics", "/conversations", "/files", "/files/."]]


@way
def conversation_as_a_watcher():
    upgrade = ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")
    return [ask("/ws?watch=true&after=0", token(), extra=upgrade)]


@way
def stdout_and_stderr_of_the_relay():
    return [read(f"/proc/{pid}/fd/{number}", 1 << 16) for pid in relays() for number in (0, 1, 2)]


@way
def own_credential_as_it_would_be_sent():
    names = [name for name in os.environ if re.search("KEY|TOKEN|SECRET|HEADERS|AUTH", name)]
    values = [os.environ[name] for name in names]
    return [value.encode() for value in values] + [urllib.parse.unquote(value).encode() for value in values]


def look():
    report = {}
    for name, found in WAYS.items():
        began, seen, hits = time.monotonic(), 0, 0
        for block in found():
            seen += len(block)
            hits += sum(block.count(form) for form in FORMS)
        report[name] = {"bytes": seen, "hits": hits, "ms": round((time.monotonic() - began) * 1000)}
    report["token"] = bool(token())
    return json.dumps(report)


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


for line in sys.stdin.buffer:
    HEARD.append(line)
    message = json.loads(line)
    if message["type"] == "control_request":
        say({"type": "control_response", "response": {
            "subtype": "success", "request_id": message["request_id"], "response": {}}})
    elif message["type"] == "user":
        about = {"session_id": "00000000-0000-4000-8000-000000000001"}
        say({"type": "system", "subtype": "init", "tools": [], **about})
        text = look()
        content = [{"type": "text", "text": text}]
        say({"type": "assistant", "message": {"role": "assistant", "content": content}, **about})
        say({"type": "result", "subtype": "success", "is_error": False, "result": text, **about})

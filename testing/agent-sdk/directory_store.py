"""The layout of a store of claude-relay-server, as a session store of the Agent
SDK: with it a program reads and writes what a relay with `--store DIRECTORY`
keeps.

Run by itself it has the SDK's own conformance suite judge the layout, and with a
directory as its argument it prints, as JSON, what it finds there.
"""

import asyncio
import json
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from claude_agent_sdk import SessionStore
from claude_agent_sdk.testing import run_session_store_conformance


class DirectoryStore(SessionStore):
    def __init__(self, root):
        self.root = Path(root)
        self.last = 0

    def folder(self, key):
        parts = [key["project_key"], key["session_id"]]
        if key.get("subpath"):
            parts += key["subpath"].split("/")
        if any(part in ("", ".", "..") or "\\" in part for part in parts):
            raise ValueError(f"no key: {key}")
        return self.root.joinpath(*parts)

    @staticmethod
    def parts(folder):
        return sorted(folder.glob("part-*.jsonl"))

    async def append(self, key, entries):
        if not entries:
            return
        self.last = max(int(time.time() * 1000), self.last + 1)
        folder = self.folder(key)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"part-{self.last:013d}-{secrets.token_hex(3)}.jsonl"
        text = "".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in entries)
        made = folder / f".{name}"
        made.write_text(text)
        made.rename(folder / name)

    async def load(self, key):
        parts = self.parts(self.folder(key))
        lines = [line for part in parts for line in part.read_text().splitlines() if line]
        return [json.loads(line) for line in lines] or None

    async def list_sessions(self, project_key):
        found = []
        for folder in self.root.joinpath(project_key).glob("*"):
            parts = self.parts(folder)
            if parts:
                mtime = int(parts[-1].name.split("-")[1])
                found.append({"session_id": folder.name, "mtime": mtime})
        return found

    async def delete(self, key):
        folder = self.folder(key)
        if key.get("subpath"):
            for part in self.parts(folder):
                part.unlink()
        else:
            shutil.rmtree(folder, ignore_errors=True)

    async def list_subkeys(self, key):
        folder = self.folder({"project_key": key["project_key"], "session_id": key["session_id"]})
        below = {part.parent for part in folder.rglob("part-*.jsonl")} - {folder}
        return [path.relative_to(folder).as_posix() for path in below]


async def conformance():
    with tempfile.TemporaryDirectory() as root:

        def fresh():
            return DirectoryStore(tempfile.mkdtemp(dir=root))

        await run_session_store_conformance(fresh)
    print("conforms")


async def found(root):
    store = DirectoryStore(root)
    told = {}
    for project in sorted(path.name for path in Path(root).iterdir()):
        for session in await store.list_sessions(project):
            key = {"project_key": project, "session_id": session["session_id"]}
            told[key["session_id"]] = {
                "project": project,
                "entries": await store.load(key),
                "subkeys": sorted(await store.list_subkeys(key)),
            }
    print(json.dumps(told))


asyncio.run(found(sys.argv[1]) if len(sys.argv) > 1 else conformance())

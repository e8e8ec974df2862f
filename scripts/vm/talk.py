"""What surrounds the machines of `scripts/rehearse-vm`: a Messages API behind an edge that
adds a key on the way, as E2B's rules do, and a client of one relay."""

import base64
import http.server
import json
import os
import socket
import struct
import threading
import time
import urllib.error
import urllib.request

TURN_TIMEOUT = 600
PLACEHOLDER = "placeholder-the-key-is-added-outside-of-the-sandbox"


class Edge(http.server.ThreadingHTTPServer):
    """The edge and the API behind it. The first part of a path names the machine."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, key):
        super().__init__(("127.0.0.1", 0), Handler)
        self.key = key
        self.outside = set()  # machines whose key the edge adds
        self.requests = {}
        self.commands = {}
        self.address = f"http://10.0.2.2:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass  # a machine that was ended in the middle of a request


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, kind, body, status=200):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.answer("application/json", b"{}")

    do_GET = do_HEAD

    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        _, name, path = self.path.split("/", 2)
        edge = self.server
        said = "\n".join(f"{key}: {value}" for key, value in self.headers.items())
        edge.requests.setdefault(name, []).append(f"{said}\n{text}")
        key = edge.key if name in edge.outside else self.headers.get("x-api-key")
        if key != edge.key:
            return self.answer("application/json", b'{"error":{"message":"no such key"}}', 401)
        if path.split("?")[0] != "v1/messages":
            return self.answer("application/json", b"{}")
        body = json.loads(text)
        command = edge.commands.get(name)
        tools = {tool["name"] for tool in body.get("tools", [])}
        if command and "Bash" in tools and "tool_result" not in text:
            return self.stream("tool_use", json.dumps({"command": command, "timeout": 600000}))
        self.stream("text", f"This is {name}.")

    def stream(self, kind, said):
        block = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": said}
        if kind == "tool_use":
            block = {"type": "tool_use", "id": "toolu_01", "name": "Bash", "input": {}}
            delta = {"type": "input_json_delta", "partial_json": said}
        message = {"id": "msg_01", "type": "message", "role": "assistant", "model": "claude-opus-4-1",
                   "content": [], "stop_reason": None, "stop_sequence": None,
                   "usage": {"input_tokens": 10, "output_tokens": 1}}
        reason = "tool_use" if kind == "tool_use" else "end_turn"
        events = [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None},
             "usage": {"output_tokens": 5}},
            {"type": "message_stop"},
        ]
        lines = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        self.answer("text/event-stream", "".join(lines).encode())


class Relay:
    """A client of the relay in one machine."""

    def __init__(self, port, token=None):
        self.port, self.token = port, token
        self.frames = []

    def request(self, path, body=None, timeout=TURN_TIMEOUT):
        headers = {"content-type": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers=headers,
            data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)

    def wait(self, is_so, is_alive, timeout):
        """Waits until `/health` is as it should be."""
        end, found = time.monotonic() + timeout, None
        while time.monotonic() < end and is_alive():
            try:
                found = self.request("/health", timeout=20)
                if is_so(found):
                    return found
            except OSError:
                pass
            time.sleep(0.2)
        raise TimeoutError(f"the relay is not as it should be: {found}")

    def claim(self, config):
        answer = self.request("/config", config)
        self.token = config["authToken"]
        return answer

    def connect(self):
        self.socket = socket.create_connection(("127.0.0.1", self.port), TURN_TIMEOUT)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /ws?after=0 HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Authorization: Bearer {self.token}\r\n\r\n".encode())
        self.file = self.socket.makefile("rb")
        status = self.file.readline()
        if b" 101 " not in status:
            raise ConnectionError(status.decode())
        while self.file.readline() != b"\r\n":
            pass

    def say(self, text):
        message = {"type": "user", "session_id": "", "parent_tool_use_id": None,
                   "message": {"role": "user", "content": text}}
        self.send(0x81, json.dumps({"type": "user_message", "data": message}).encode())

    def send(self, first, data):
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        length = struct.pack("!B", 0x80 | len(data)) if len(data) < 126 else struct.pack("!BH", 0xFE, len(data))
        self.socket.sendall(bytes([first]) + length + mask + masked)

    def frame(self):
        """The next message, kept in `frames` too."""
        while True:
            first, length = self.file.read(2)
            if length == 126:
                (length,) = struct.unpack("!H", self.file.read(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", self.file.read(8))
            data = self.file.read(length)
            if first & 0xF == 9:
                self.send(0x8A, data)
            elif first & 0xF == 8:
                raise ConnectionError(f"closed: {data[2:].decode()}")
            else:
                self.frames.append(data.decode())
                return json.loads(data)

    def turn(self, text):
        """Returns when the first text of the agent came; waits for the end."""
        first = None
        self.say(text)
        while True:
            frame = self.frame()
            data = frame.get("data")
            if frame["type"] in ("error", "exit"):
                raise ConnectionError(json.dumps(frame))
            if not isinstance(data, dict):
                continue
            if first is None and data.get("event", {}).get("type") == "content_block_delta":
                first = time.monotonic()
            if data.get("type") == "result":
                if data.get("is_error"):
                    raise ConnectionError(json.dumps(frame))
                return first, data

    def close(self):
        self.file.close()
        self.socket.close()

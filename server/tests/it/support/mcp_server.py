"""A small MCP server over stdio: one tool, which tells what it was given."""

import json
import os
import sys

TOOL = {
    "name": "shout",
    "description": "Says it loudly.",
    "inputSchema": {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
    },
}


def answer(method, params):
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "small", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        said = [params["arguments"]["text"].upper(), os.environ.get("MCP_VALUE", "")]
        return {"content": [{"type": "text", "text": " ".join(said + sys.argv[1:])}]}
    return {}


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        result = answer(request["method"], request.get("params", {}))
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)

"""Parts of scenarios."""

BASH = 'USE Bash {"command":"rm -f x; echo first"}'
ENV = {"ENABLE_TOOL_SEARCH": "false"}


def text(value):
    return {"content": [{"type": "text", "text": value}]}


def user(content, **more):
    return {"type": "user", "message": {"role": "user", "content": content}, **more}


async def told(awaitable):
    try:
        return await awaitable
    except Exception as error:
        return [type(error).__name__, str(error).split("\n")[0][:120]]

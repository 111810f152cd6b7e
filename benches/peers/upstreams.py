"""Two upstreams that nginx cannot be: one echoes WebSocket messages, one reads bodies to their end.

Arguments: the port of the echo, the port of the sink.
"""

import asyncio
import base64
import hashlib
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def fields(head: bytes) -> dict[bytes, bytes]:
    lines = (line.split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    return {name.strip().lower(): value.strip() for name, value in lines}


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each masked frame of up to 125 bytes with the same message unmasked (RFC 6455)."""
    try:
        key = fields(await reader.readuntil(b"\r\n\r\n"))[b"sec-websocket-key"]
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-accept: " + accept + b"\r\n\r\n"
        )
        while True:
            first, length = await reader.readexactly(2)
            mask = int.from_bytes(await reader.readexactly(4), "big")
            length &= 0x7F
            message = await reader.readexactly(length)
            whole = mask.to_bytes(4, "big") * (length // 4 + 1)
            clear = int.from_bytes(message, "big") ^ int.from_bytes(whole[:length], "big")
            writer.write(bytes([first, length]) + clear.to_bytes(length, "big"))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers once a body has come whole."""
    try:
        while True:
            head = fields(await reader.readuntil(b"\r\n\r\n"))
            if b"chunked" in head.get(b"transfer-encoding", b""):
                while size := int(await reader.readuntil(b"\r\n"), 16):
                    await take(reader, size + 2)
                await reader.readuntil(b"\r\n")
            else:
                await take(reader, int(head.get(b"content-length", b"0")))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def take(reader: asyncio.StreamReader, length: int) -> None:
    while length:
        data = await reader.read(min(length, 65536))
        if not data:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(data)


async def main() -> None:
    echoing = await asyncio.start_server(echo, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    taking = await asyncio.start_server(sink, "127.0.0.1", int(sys.argv[2]), backlog=1024)
    await asyncio.gather(echoing.serve_forever(), taking.serve_forever())


asyncio.run(main())

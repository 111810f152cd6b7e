"""A thousand WebSockets at once, messages of 0 to 900,000 bytes, a refusal. CA, token, port."""

import asyncio
import os
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

ca, token, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
url = f"wss://localhost:{port}/ws/chat"
tls = ssl.create_default_context(cafile=ca)


def open_socket(headers=None):
    headers = headers or {"Authorization": f"Bearer {token}"}
    return connect(url, ssl=tls, additional_headers=headers, max_size=None, open_timeout=60)


async def sizes():
    async with open_socket() as socket:
        for size in [0, 1, 125, 126, 65_535, 65_536, 900_000]:
            message = os.urandom(size)
            await socket.send(message)
            assert await socket.recv() == message, size


async def refusal():
    try:
        async with open_socket({"X-Auth-Subject": "admin"}):
            raise AssertionError("it was let in")
    except InvalidStatus as refused:
        assert refused.response.status_code == 401


async def one(number, everybody):
    async with open_socket() as socket:
        await socket.send(f"hello {number}")
        assert await socket.recv() == f"hello {number}"
        await everybody.wait()
        await socket.send(f"goodbye {number}")
        assert await socket.recv() == f"goodbye {number}"


async def main():
    await sizes()
    await refusal()
    everybody = asyncio.Barrier(1000)
    await asyncio.gather(*(one(number, everybody) for number in range(1000)))
    print("0 to 900,000 bytes, a refusal, 1,000 at once")


asyncio.run(main())

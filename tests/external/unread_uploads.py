"""Sends as much as the windows allow on each of many connections of HTTP/2, to an upstream that takes
nothing of it.

Arguments: the port on loopback, the path, how many connections, the port to be that upstream on.
"""
import socket
import sys
import time

from frames import PREFACE, connect, frame, request

PORT, PATH, CONNECTIONS, UPSTREAM = int(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3]), int(sys.argv[4])
STREAMS = 4
DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8
END_HEADERS = 4


def exactly(stream, length):
    read = b""
    while len(read) < length:
        part = stream.recv(length - len(read))
        if not part:
            raise ConnectionError("closed")
        read += part
    return read


def wait_for_window(stream):
    """Returns once the connection's window is open."""
    while True:
        head = exactly(stream, 9)
        exactly(stream, int.from_bytes(head[:3], "big"))
        if head[3] == WINDOW_UPDATE and head[5:] == bytes(4):
            return


upstream = socket.socket()
upstream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
upstream.bind(("127.0.0.1", UPSTREAM))
upstream.listen(4096)

block = request(b"POST", PATH)
hello = PREFACE + frame(SETTINGS, 0, 0, b"")
uploads = b"".join(
    frame(HEADERS, END_HEADERS, 2 * n + 1, block) + 4 * frame(DATA, 0, 2 * n + 1, b"x" * 16000)
    for n in range(STREAMS)
)

crowd = []
for _ in range(CONNECTIONS):
    try:
        stream = connect(PORT)
        stream.sendall(hello)
        wait_for_window(stream)
        stream.sendall(uploads)
    except TimeoutError:
        break
    crowd.append(stream)
print(len(crowd), "connections", end=", ")
time.sleep(5)

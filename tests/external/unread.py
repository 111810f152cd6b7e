"""Asks for a hundred answers on each of many connections of HTTP/2, and reads none of them.

Arguments: the port on loopback, the path, how many connections, the window of each stream.
"""
import struct
import sys
import time

from frames import PREFACE, connect, frame, request

PORT, PATH, CONNECTIONS, WINDOW = int(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3]), int(sys.argv[4])
STREAMS = 100
HEADERS, SETTINGS, WINDOW_UPDATE = 1, 4, 8
END_STREAM_AND_HEADERS = 5

block = request(b"GET", PATH)
hello = (
    PREFACE
    + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, WINDOW))
    + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30))
)
requests = b"".join(frame(HEADERS, END_STREAM_AND_HEADERS, 2 * n + 1, block) for n in range(STREAMS))

crowd = []
for _ in range(CONNECTIONS):
    try:
        stream = connect(PORT, receive_buffer=8192)
        stream.sendall(hello + requests)
    except TimeoutError:
        break
    crowd.append(stream)
print(len(crowd), "connections", end=", ")
time.sleep(5)

"""Frames of HTTP/2 by hand, for clients that do not read, or not as others do."""
import socket
import ssl
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request(method, path):
    return (
        field(b":method", method)
        + field(b":scheme", b"https")
        + field(b":authority", b"localhost")
        + field(b":path", path)
    )


def connect(port, receive_buffer=None):
    """Those for which there is no place wait in the queue, which is a TimeoutError."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    stream = socket.socket()
    if receive_buffer:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    stream.settimeout(1)
    stream.connect(("127.0.0.1", port))
    return context.wrap_socket(stream, server_hostname="localhost")

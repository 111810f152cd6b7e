"""Whether a gateway does what it is compared for. Speed at letting anybody in is not worth much."""

import http.client
import ssl
import time

from arena import Arena
from gateways import Gateway, Running


def answer(running: Running, token: str | None, path: str = "/api/x") -> tuple[int, str]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", running.port, timeout=10, context=tls)
    try:
        headers = {"X-Auth-Subject": "root"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode().strip()
    finally:
        connection.close()


def cases(arena: Arena):
    """What is tried, and whether it may pass."""
    good, past = arena.keys["RS256"], int(time.time()) - 3600
    signed = good.token("mallory").rpartition(".")[0]
    yield "a good RS256 token", good.token("alice"), True
    yield "a good ES256 token", arena.keys["ES256"].token("alice"), True
    yield "no token", None, False
    yield "an expired token", good.token("alice", exp=past), False
    yield "another issuer", good.token("alice", iss="https://other.example"), False
    yield "another audience", good.token("alice", aud="payments"), False
    yield "another's signature", signed + "." + good.token("alice").rpartition(".")[2], False
    yield "no signature", signed + ".", False
    yield "a good token once more", good.token("alice"), True


def problems(arena: Arena, gateway: Gateway, running: Running) -> list[str]:
    """What a gateway does that it should not."""
    found = []
    for what, token, may_pass in cases(arena):
        status, said = answer(running, token)
        if not gateway.checks_tokens:
            if status != 200:
                found.append(f"{what}: {status}")
        elif may_pass and (status, said) != (200, "alice, good day"):
            found.append(f"{what}: {status}, the upstream saw {said!r}")
        elif not may_pass and status not in (401, 403):
            found.append(f"{what}: {status}")
    if gateway.checks_tokens:
        status, said = answer(running, arena.keys["RS256"].token("alice"), "/api/token")
        if status != 200:
            found.append(f"a good token for another path: {status}")
        elif said:
            found.append("the upstream gets the token")
    return found

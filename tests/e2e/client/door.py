"""How the client's programs reach the set: by what lies in DOOR, which may change while they run.

Put before each of them. ca.crt: HTTPS, with tls.crt and tls.key as the client's own where they are there; token: shown
to whoever is asked. Without the folder: plain HTTP.
"""
import http.client
import os
import ssl

DOOR = "/tmp/door"


def held(name):
    return os.path.exists(f"{DOOR}/{name}")


def scheme():
    return "https" if held("ca.crt") else "http"


def connect(host, port=9876, timeout=10.0):
    if not held("ca.crt"):
        return http.client.HTTPConnection(host, port, timeout=timeout)
    context = ssl.create_default_context(cafile=f"{DOOR}/ca.crt")
    if held("tls.crt"):
        context.load_cert_chain(f"{DOOR}/tls.crt", f"{DOOR}/tls.key")
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)


def headers():
    if not held("token"):
        return {}
    with open(f"{DOOR}/token") as token:
        return {"Authorization": f"Bearer {token.read().strip()}"}



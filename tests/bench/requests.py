"""Request files for the load generator: each request as it goes over the wire, after its length."""

import base64
import json
import random

from harness import KEY


def write(path, requests):
    with open(path, "wb") as out:
        for request in requests:
            out.write(len(request).to_bytes(4, "little"))
            out.write(request)
    return path


def http(method, path, body=None, kind=None):
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\n"
    if kind:
        head += f"Content-Type: {kind}\r\n"
    if body is not None:
        head += f"Content-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + (body or b"")


def resp(*words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


def keys(count, space, seed=3):
    """`count` keys out of `space`, in an order that is the same for all peers."""
    rng = random.Random(seed)
    return [KEY % rng.randrange(space) for _ in range(count)]


def value(size, seed):
    return random.Random(seed).randbytes(size)


def seedpod_puts(names, size):
    body = value(size, 5)
    return [http("PUT", "/v1/kv/" + name, body) for name in names]


def seedpod_gets(names, query=""):
    return [http("GET", f"/v1/kv/{name}{query}") for name in names]


def redis_sets(names, size):
    body = value(size, 5)
    return [resp("SET", name, body) for name in names]


def redis_pipelines(names, count, size):
    """As many keys as seedpod_batches() puts into one request, as SETs that are sent together."""
    sets = redis_sets(names, size)
    return [b"".join(sets[i:i + count]) for i in range(0, len(sets) - count + 1, count)]


def redis_gets(names):
    return [resp("GET", name) for name in names]


def etcd_puts(names, size):
    body = base64.b64encode(value(size, 5)).decode()
    return [http("POST", "/v3/kv/put",
                 json.dumps({"key": base64.b64encode(name.encode()).decode(), "value": body}).encode(),
                 "application/json") for name in names]


def etcd_gets(names):
    """Linearizable, as etcd's reads are unless one asks for less."""
    return [http("POST", "/v3/kv/range", json.dumps({"key": base64.b64encode(name.encode()).decode()}).encode(),
                 "application/json") for name in names]


def seedpod_batches(names, each, size):
    text = "v" * size
    lines = ['{"op":"put","key":"%s","value":"%s"}\n' % (name, text) for name in names]
    return [http("POST", "/v1/batch", "".join(lines[i:i + each]).encode()) for i in range(0, len(lines), each)]

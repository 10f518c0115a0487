#!/usr/bin/env python3
"""Requests of which a proxy in front and the server may think that they end in different places. Each is refused with one
answer and the end of the connection, and nothing behind it is done; the shapes are those that are known in public. # slow file
"""

import pathlib
import re
import select
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import support  # noqa: E402
from test_hostile import HOST, LAST, MIB, NEXT, Attacked  # noqa: E402

GET = b"GET /v1/position HTTP/1.1\r\n" + HOST
PUT = b"PUT /v1/kv/a HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n"
END = b"\r\n0\r\n\r\n"
HIDDEN = b"%d" % (5 + len(NEXT))

# Heads. What stands here is followed by NEXT, a write that must not be done.
LENGTHS = {
    "two lengths": PUT + b"Content-Length: 1\r\nContent-Length: 99\r\n\r\nx",
    "two equal lengths": PUT + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "two lengths, in other letters": PUT + b"Content-Length: 1\r\ncontent-length: 99\r\n\r\nx",
    "a list of lengths": PUT + b"Content-Length: 1, 99\r\n\r\nx",
    "a list of equal lengths": PUT + b"Content-Length: 1, 1\r\n\r\nx",
    "a length with a sign": PUT + b"Content-Length: +1\r\n\r\nx",
    "a length below zero": PUT + b"Content-Length: -1\r\n\r\nx",
    "a length of minus zero": PUT + b"Content-Length: -0\r\n\r\n",
    "a length in hexadecimal": PUT + b"Content-Length: 0x1\r\n\r\nx",
    "a length with letters": PUT + b"Content-Length: 1a\r\n\r\nx",
    "a length with a blank inside": PUT + b"Content-Length: 1 0\r\n\r\nx",
    "a length with a blank behind": PUT + b"Content-Length: 1 \r\n\r\nx",
    "a length with a point": PUT + b"Content-Length: 1.0\r\n\r\nx",
    "a length with an exponent": PUT + b"Content-Length: 1e0\r\n\r\nx",
    "a length with an underscore": PUT + b"Content-Length: 1_0\r\n\r\nx",
    "a length in quotes": PUT + b'Content-Length: "1"\r\n\r\nx',
    "a length with a semicolon": PUT + b"Content-Length: 1;\r\n\r\nx",
    "a length in other digits": PUT + "Content-Length: \u0661\r\n\r\nx".encode(),
    "a length that overflows 64 bits to 1": PUT + b"Content-Length: 18446744073709551617\r\n\r\nx",
    "a length that overflows 32 bits": PUT + b"Content-Length: 4294967297\r\n\r\nx",
    "a length of 400 digits": PUT + b"Content-Length: " + b"9" * 400 + b"\r\n\r\nx",
    "no length in it": PUT + b"Content-Length: \r\n\r\n",
    "nothing behind the colon": PUT + b"Content-Length:\r\n\r\n",
    "a length with a NUL": PUT + b"Content-Length: 1\x000\r\n\r\nx",
    "a length behind a vertical tab": PUT + b"Content-Length: \x0b1\r\n\r\nx",
    "a length behind a form feed": PUT + b"Content-Length: \x0c1\r\n\r\nx",
    "an underscore for the hyphen of the length": PUT + b"Content_Length: 1\r\n\r\nx",
}

ENCODINGS = {
    "length and encoding": PUT + b"Content-Length: " + HIDDEN + b"\r\n" + CHUNKED + END,
    "encoding and length": PUT + CHUNKED + b"Content-Length: " + HIDDEN + b"\r\n" + END,
    "length of 0 and encoding": PUT + b"Content-Length: 0\r\n" + CHUNKED + END,
    "another encoding": PUT + b"Transfer-Encoding: xchunked\r\n" + END,
    "identity": PUT + b"Transfer-Encoding: identity\r\nContent-Length: 1\r\n\r\nx",
    "identity alone": PUT + b"Transfer-Encoding: identity\r\n\r\n",
    "no encoding in it": PUT + b"Transfer-Encoding:\r\n" + END,
    "two encodings in one": PUT + b"Transfer-Encoding: gzip, chunked\r\n" + END,
    "chunked first": PUT + b"Transfer-Encoding: chunked, identity\r\n" + END,
    "chunked twice": PUT + b"Transfer-Encoding: chunked, chunked\r\n" + END,
    "chunked and a comma": PUT + b"Transfer-Encoding: chunked,\r\n" + END,
    "a comma and chunked": PUT + b"Transfer-Encoding: ,chunked\r\n" + END,
    "two encodings": PUT + CHUNKED + b"Transfer-Encoding: identity\r\n" + END,
    "two encodings, chunked last": PUT + b"Transfer-Encoding: identity\r\n" + CHUNKED + END,
    "the same encoding twice": PUT + CHUNKED + CHUNKED + END,
    "chunked in quotes": PUT + b'Transfer-Encoding: "chunked"\r\n' + END,
    "chunked with a parameter": PUT + b"Transfer-Encoding: chunked;q=1\r\n" + END,
    "chunked with a blank behind": PUT + b"Transfer-Encoding: chunked \r\n" + END,
    "chunked with a tab behind": PUT + b"Transfer-Encoding: chunked\t\r\n" + END,
    "chunked behind a vertical tab": PUT + b"Transfer-Encoding: \x0bchunked\r\n" + END,
    "chunked with a NUL": PUT + b"Transfer-Encoding: chunked\0x\r\n" + END,
    "chunked with a bare CR": PUT + b"Transfer-Encoding: chunked\r,\r\n" + END,
    "chunked with a high byte": PUT + b"Transfer-Encoding: \xffchunked\r\n" + END,
    "chunked with a letter that looks like k": PUT + "Transfer-Encoding: chun\u212aed\r\n".encode() + END,
    "chunked in HTTP/1.0": b"PUT /v1/kv/a HTTP/1.0\r\n" + HOST + CHUNKED + END,
    "chunked and kept alive in HTTP/1.0": b"PUT /v1/kv/a HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n" + CHUNKED + END,
    "an underscore for the hyphen of the encoding": PUT + b"Transfer_Encoding: chunked\r\n" + END,
    "a blank before the encoding's colon": PUT + b"Transfer-Encoding : chunked\r\n" + END,
    "a tab before the encoding's colon": PUT + b"Transfer-Encoding\t: chunked\r\n" + END,
    "a NUL in the encoding's name": PUT + b"Transfer-Encoding\0: chunked\r\n" + END,
}

FOLDED = {
    "a folded encoding": PUT + b"Transfer-Encoding:\r\n chunked\r\n" + END,
    "an encoding folded with a tab": PUT + b"Transfer-Encoding:\r\n\tchunked\r\n" + END,
    "a folded length": PUT + b"Content-Length:\r\n 63\r\n\r\n",
    "a length that goes on": PUT + b"Content-Length: 63\r\n 0\r\n\r\n",
    "a folded condition": PUT + b"If-None-Match:\r\n *\r\nContent-Length: 1\r\n\r\nx",
    "a folded line and a length": PUT + b"X: y\r\n Content-Length: 5\r\nContent-Length: 1\r\n\r\nx",
    "a first header that is folded": b"PUT /v1/kv/a HTTP/1.1\r\n Content-Length: 1\r\n" + HOST + b"\r\nx",
    "a line of blanks": PUT + b"X: y\r\n \r\nContent-Length: 1\r\n\r\nx",
    "a folded last line": PUT + b"Content-Length: 1\r\nX: y\r\n z\r\n\r\nx",
}

LINES = {
    "a request line that ends in LF": b"PUT /v1/kv/a HTTP/1.1\n" + HOST + b"Content-Length: 1\r\n\r\nx",
    "a header that ends in LF": PUT + b"X: y\nContent-Length: 1\r\n\r\nx",
    "all lines end in LF": b"PUT /v1/kv/a HTTP/1.1\nHost: x\nContent-Length: 1\n\nx",
    "an empty line of LF alone": PUT + b"Content-Length: 1\r\n\nx",
    "a header that ends in NUL and LF": PUT + b"X: y\0\nContent-Length: 1\r\n\r\nx",
    "a header that ends in CR CR LF": PUT + b"X: y\r\r\nContent-Length: 1\r\n\r\nx",
    "an LF before the request": b"\n" + PUT + b"Content-Length: 1\r\n\r\nx",
    "a bare CR": PUT + b"X: a\rContent-Length: 1\r\n\r\n",
    "a bare CR in a name": PUT + b"X\ra: b\r\nContent-Length: 1\r\n\r\nx",
    "a bare CR for the empty line": PUT + b"Content-Length: 1\r\n\r\r\n\r\nx",
    "a NUL in a value": PUT + b"X: a\0b\r\nContent-Length: 1\r\n\r\nx",
    "a NUL at the end of the last value": PUT + b"Content-Length: 1\r\nX: a\0\r\n\r\nx",
    "a DEL in a value": PUT + b"X: a\x7fb\r\nContent-Length: 1\r\n\r\nx",
    "a vertical tab before the end of a line": PUT + b"X: a\x0b\r\nContent-Length: 1\r\n\r\nx",
    "a blank before the colon": PUT + b"Content-Length : 1\r\n\r\nx",
    "a blank in a name": GET + b"X y: z\r\n\r\n",
    "a control byte in a name": GET + b"X\x01y: z\r\n\r\n",
    "a high byte in a name": GET + b"X\xffy: z\r\n\r\n",
    "brackets in a name": GET + b"X[y]: z\r\n\r\n",
    "no name": GET + b": z\r\n\r\n",
    "no colon": GET + b"junk\r\n\r\n",
    "no host": b"GET /v1/position HTTP/1.1\r\n\r\n",
    "two hosts": GET + HOST + b"\r\n",
    "two hosts in one": b"GET /v1/position HTTP/1.1\r\nHost: x, y\r\n\r\n",
    "two hosts and a blank": b"GET /v1/position HTTP/1.1\r\nHost: x y\r\n\r\n",
    "a host with a path": b"GET /v1/position HTTP/1.1\r\nHost: x/y\r\n\r\n",
    "a host with a user": b"GET /v1/position HTTP/1.1\r\nHost: x@y\r\n\r\n",
}

REQUEST_LINES = {
    "a version of tomorrow": b"GET /v1/position HTTP/9.9\r\n" + HOST + b"\r\n",
    "HTTP/1.2": b"GET /v1/position HTTP/1.2\r\n" + HOST + b"\r\n",
    "a version in small letters": b"GET /v1/position http/1.1\r\n" + HOST + b"\r\n",
    "a version of three numbers": b"GET /v1/position HTTP/1.1.1\r\n" + HOST + b"\r\n",
    "a version of two digits": b"GET /v1/position HTTP/1.10\r\n" + HOST + b"\r\n",
    "a version with a blank behind": b"GET /v1/position HTTP/1.1 \r\n" + HOST + b"\r\n",
    "another protocol": b"GET /v1/position ICAP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/2's first bytes": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /v1/position\r\n\r\n",
    "HTTP/0.9 with headers": b"GET /v1/position\r\n" + HOST + b"\r\n",
    "a blank for a target": b"GET  HTTP/1.1\r\n" + HOST + b"\r\n",
    "no target": b"GET HTTP/1.1\r\n" + HOST + b"\r\n",
    "two blanks before the target": b"GET  /v1/position HTTP/1.1\r\n" + HOST + b"\r\n",
    "two blanks behind the target": b"GET /v1/position  HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tab for a blank": b"GET\t/v1/position\tHTTP/1.1\r\n" + HOST + b"\r\n",
    "a blank before the method": b" GET /v1/position HTTP/1.1\r\n" + HOST + b"\r\n",
    "a colon in the method": b"G:T /v1/position HTTP/1.1\r\n" + HOST + b"\r\n",
    "a blank in a key": b"PUT /v1/kv/a b HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx",
    "a second version in a key": b"PUT /v1/kv/a HTTP/1.1 HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx",
    "a tab in a key": b"PUT /v1/kv/a\tb HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx",
    "a bare CR in a key": b"PUT /v1/kv/a\rb HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx",
    "a fragment": b"PUT /v1/kv/a#b HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx",
    "a fragment in a query": b"PUT /v1/kv/a?b#c HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx",
    "a NUL in a key": b"PUT /v1/kv/a\0b HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx",
    "a NUL behind a key": b"PUT /v1/kv/a\0 HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx",
    "a NUL in a query": b"PUT /v1/kv/a?x=\0y HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx",
    "a DEL in a key": b"PUT /v1/kv/a\x7fb HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx",
    "a tunnel": b"CONNECT evil:443 HTTP/1.1\r\n" + HOST + b"\r\n",
}

BODIES = {
    "a chunk below zero": PUT + CHUNKED + b"\r\n-1\r\nx\r\n0\r\n\r\n",
    "a chunk with a sign": PUT + CHUNKED + b"\r\n+1\r\nx\r\n0\r\n\r\n",
    "a chunk in C's hexadecimal": PUT + CHUNKED + b"\r\n0x1\r\nx\r\n0\r\n\r\n",
    "a chunk with an underscore": PUT + CHUNKED + b"\r\n1_0\r\nx\r\n0\r\n\r\n",
    "a chunk without a size": PUT + CHUNKED + b"\r\n\r\nx\r\n0\r\n\r\n",
    "a chunk with an extension and no size": PUT + CHUNKED + b"\r\n;x=y\r\nx\r\n0\r\n\r\n",
    "a chunk beyond all bounds": PUT + CHUNKED + b"\r\nFFFFFFFFFFFFFFFFF\r\nx\r\n0\r\n\r\n",
    "a chunk that overflows 64 bits to 1": PUT + CHUNKED + b"\r\n10000000000000001\r\nx\r\n0\r\n\r\n",
    "a chunk of 2^64-1": PUT + CHUNKED + b"\r\nFFFFFFFFFFFFFFFF\r\nx\r\n0\r\n\r\n",
    "a blank before a chunk's size": PUT + CHUNKED + b"\r\n 1\r\nx\r\n0\r\n\r\n",
    "a blank behind a chunk's size": PUT + CHUNKED + b"\r\n1 \r\nx\r\n0\r\n\r\n",
    "a blank before a chunk's extension": PUT + CHUNKED + b"\r\n1 ;a=b\r\nx\r\n0\r\n\r\n",
    "a chunk's size that ends in LF": PUT + CHUNKED + b"\r\n1\nx\r\n0\r\n\r\n",
    "a chunk's size that ends in CR": PUT + CHUNKED + b"\r\n1\rx\r\n0\r\n\r\n",
    "a chunk's extension that ends in LF": PUT + CHUNKED + b"\r\n1;x\nx\r\n0\r\n\r\n",
    "a chunk's extension with a line end": PUT + CHUNKED + b"\r\n1;x=\"\n\"\r\nx\r\n0\r\n\r\n",
    "a chunk's extension with a bare CR": PUT + CHUNKED + b"\r\n1;x\ry\r\nx\r\n0\r\n\r\n",
    "a chunk's extension with a NUL": PUT + CHUNKED + b"\r\n1;x\0y\r\nx\r\n0\r\n\r\n",
    "a chunk's extension of 64 KiB": PUT + CHUNKED + b"\r\n1;" + b"x" * 65536 + b"\r\nx\r\n0\r\n\r\n",
    "a chunk that ends in LF": PUT + CHUNKED + b"\r\n1\r\nx\n0\r\n\r\n",
    "a chunk that ends in CR": PUT + CHUNKED + b"\r\n1\r\nx\r0\r\n\r\n",
    "a chunk that ends in other bytes": PUT + CHUNKED + b"\r\n1\r\nxyz0\r\n\r\n",
    "a chunk that is longer than it says": PUT + CHUNKED + b"\r\n1\r\nxx\r\n0\r\n\r\n",
    "a chunk that is shorter than it says": PUT + CHUNKED + b"\r\n3\r\nx\r\n0\r\n\r\n\r\n",
    "a last chunk that ends in LF": PUT + CHUNKED + b"\r\n1\r\nx\r\n0\n\r\n",
    "an end of LF alone": PUT + CHUNKED + b"\r\n1\r\nx\r\n0\r\n\n",
    "a trailer that ends in LF": PUT + CHUNKED + b"\r\n1\r\nx\r\n0\r\nX: y\n\r\n",
    "a trailer that is folded": PUT + CHUNKED + b"\r\n1\r\nx\r\n0\r\nX: y\r\n z\r\n\r\n",
    "a trailer with a NUL": PUT + CHUNKED + b"\r\n1\r\nx\r\n0\r\nX: \0\r\n\r\n",
    "a trailer without a colon": PUT + CHUNKED + b"\r\n1\r\nx\r\n0\r\nx\r\n\r\n",
    "a request for a trailer": PUT + CHUNKED + b"\r\n1\r\nx\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
    "trailers of 64 KiB": PUT + CHUNKED + b"\r\n1\r\nx\r\n0\r\n" + b"a: b\r\n" * 11000 + b"\r\n",
}

# Too much: the statuses are 414 for what the target causes and 431 for the headers.
TOO_MUCH = {
    "500 query parameters": (b"GET /v1/position?" + b"a=b&" * 500 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "500 empty query parameters": (b"GET /v1/position?" + b"&" * 500 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "a target of 10000 bytes": (b"GET /v1/kv/" + b"b" * 10000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "500 short headers": (GET + b"a: b\r\n" * 500 + b"\r\n", 431),
    "500 cookies": (GET + b"Cookie: " + b"a=b; " * 500 + b"\r\n\r\n", 431),
    "6000 headers": (GET + b"a: b\r\n" * 6000 + b"\r\n", 431),
    "a header of 20000 bytes": (GET + b"a: " + b"b" * 20000 + b"\r\n\r\n", 431),
}

# The client still sends when it is refused, so that the answer may be lost to the connection's reset.
GIANTS = {
    "a giant header": GET + b"a: " + b"b" * MIB + b"\r\n\r\n",
    "a giant line": b"GET /" + b"b" * MIB + b" HTTP/1.1\r\n" + HOST + b"\r\n\r\n",
    "a giant method": b"A" * MIB + b" / HTTP/1.1\r\n" + HOST + b"\r\n\r\n",
}

# Unusual and allowed: answered, and what follows is answered as well.
ALLOWED = {
    "an empty line before": (b"\r\n" + GET + b"\r\n", 200),
    "chunked in other letters": (PUT + b"tRANSFER-eNCODING: CHUNKED\r\n\r\n1\r\nx\r\n0\r\n\r\n", 204),
    "a chunk with extensions": (PUT + CHUNKED + b"\r\n1;a=b;c=\"d e\"\r\nx\r\n0;f\r\n\r\n", 204),
    "a chunk with zeros before its size": (PUT + CHUNKED + b"\r\n0001\r\nx\r\n000\r\n\r\n", 204),
    "trailers": (PUT + CHUNKED + b"\r\n1\r\nx\r\n0\r\nContent-Length: 99\r\nX: y\r\n\r\n", 204),
    "no blank behind the colon": (PUT + b"Content-Length:1\r\n\r\nx", 204),
    "blanks and tabs behind the colon": (PUT + b"Content-Length: \t 1\r\n\r\nx", 204),
    "blanks behind a value": (PUT + b"X: y \t \r\nContent-Length: 1\r\n\r\nx", 204),
    "a tab in a value": (PUT + b"X: y\tz\r\nContent-Length: 1\r\n\r\nx", 204),
    "a high byte in a value": (PUT + b"X: \xff\r\nContent-Length: 1\r\n\r\nx", 204),
    "zeros before a length": (PUT + b"Content-Length: 0001\r\n\r\nx", 204),
    "a host with a port": (b"GET /v1/position HTTP/1.1\r\nHost: [::1]:9876\r\n\r\n", 200),
    "an empty host": (b"GET /v1/position HTTP/1.1\r\nHost:\r\n\r\n", 200),
    "100 headers": (GET + b"a: b\r\n" * 100 + b"\r\n", 200),
    "a header of 10000 bytes": (GET + b"a: " + b"b" * 10000 + b"\r\n\r\n", 200),
    "a request in a body": (PUT + b"Content-Length: %d\r\n\r\n" % len(NEXT) + NEXT, 204),
    "a request in a chunk": (PUT + CHUNKED + b"\r\n%x\r\n" % len(NEXT) + NEXT + b"\r\n0\r\n\r\n", 204),
}


class Smuggling(Attacked):
    def refused(self, shapes, at_least_one=True):
        for name, data in shapes.items():
            data, wanted = data if isinstance(data, tuple) else (data, None)
            with self.subTest(name):
                began = time.monotonic()
                statuses, ended = self.answers(data + NEXT)
                self.assertTrue(ended, statuses)
                self.assertLess(time.monotonic() - began, 10 * support.SLOW)
                if at_least_one:
                    self.assertEqual(len(statuses), 1, statuses)
                    self.assertIn(statuses[0], [wanted] if wanted else (400, 413, 505))
                self.assertTrue(all(400 <= status < 600 for status in statuses), statuses)
                self.assertLessEqual(len(statuses), 1)
                self.assertEqual(self.leader.get("/v1/kv/smuggled").status, 404)
                self.assertEqual(self.leader.get("/v1/kv/a").status, 404)

    def test_lengths_that_are_read_in_different_ways(self):
        self.refused(LENGTHS)

    def test_transfer_encodings_that_are_read_in_different_ways(self):
        self.refused(ENCODINGS)

    def test_folded_lines(self):
        self.leader.put("conditional", b"old")
        self.refused(FOLDED)
        # The condition is not lost: nothing is written.
        statuses, _ = self.answers(b"PUT /v1/kv/conditional HTTP/1.1\r\nHost: x\r\nIf-None-Match:\r\n *\r\n"
                                   b"Content-Length: 1\r\nConnection: close\r\n\r\nx")
        self.assertEqual(statuses, [400])
        self.assertEqual(self.leader.get("/v1/kv/conditional").body, b"old")

    def test_lines_and_names_that_are_read_in_different_ways(self):
        self.refused(LINES)

    def test_request_lines_that_are_read_in_different_ways(self):
        self.refused(REQUEST_LINES)

    def test_chunks_and_trailers_that_are_read_in_different_ways(self):
        self.refused(BODIES)

    def test_too_much_is_answered(self):
        self.refused(TOO_MUCH)
        self.refused(GIANTS, at_least_one=False)

    def test_it_is_the_same_however_the_bytes_arrive(self):
        """Each shape of a few, byte by byte: where a segment ends decides nothing."""
        shapes = {name: data for table in (FOLDED, LINES) for name, data in table.items()}
        for name, data in list(shapes.items())[::3] + list(BODIES.items())[::5]:
            with self.subTest(name):
                self.assertEqual(self.drip(data + NEXT), [400])
                self.assertEqual(self.leader.get("/v1/kv/smuggled").status, 404)
        for name, (data, status) in list(ALLOWED.items())[::2]:
            if len(data) < 1000:
                with self.subTest(name):
                    self.assertEqual(self.drip(data + LAST), [status, 404])
        self.leader.ask("DELETE", "/v1/kv/a")

    def drip(self, data):
        s = self.connect()
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        got = b""
        try:
            for i in range(len(data)):
                if select.select([s], [], [], 0)[0]:
                    got += s.recv(65536)
                    if b" 400 " in got:
                        break  # what is sent now may reset the connection
                s.sendall(data[i:i + 1])
        except (ConnectionResetError, BrokenPipeError):
            pass  # the answer came after the look; it stands in the socket still
        try:
            while piece := s.recv(65536):
                got += piece
        except ConnectionResetError:
            pass
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]

    def test_what_is_allowed_is_answered_and_so_is_what_follows(self):
        for name, (data, status) in ALLOWED.items():
            with self.subTest(name):
                self.assertEqual(self.answers(data + LAST), ([status, 404], True))
                self.assertEqual(self.leader.get("/v1/kv/smuggled").status, 404)
        self.leader.ask("DELETE", "/v1/kv/a")

    def test_many_requests_at_once_are_answered_in_order(self):
        many = b"".join(b"PUT /v1/kv/n%d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n%03d" % (i, i) for i in range(300))
        statuses, ended = self.answers(many + LAST)
        self.assertEqual((statuses, ended), ([204] * 300 + [404], True))
        self.assertEqual(self.leader.get("/v1/kv/n299").body, b"299")
        # An honest request before a bad one is done.
        statuses, ended = self.answers(many[:len(many) // 300] + PUT + b"X: y\n\r\n" + NEXT)
        self.assertEqual((statuses[-1], len(statuses), ended), (400, 2, True))


if __name__ == "__main__":
    support.main()

#!/usr/bin/env python3
"""Servers that misbehave, for the tests of tests/services: tests/services.py starts this in its namespace.

    faults.py --target redis=PORT --target pg=PORT --target http=PORT

Prints NAME=PORT for each port that a test can use, then "ready". Every TCP port is open on all of LIVE, and nothing
that connects to it on DEAD gets an answer, as a full backlog swallows it; that holds for the targets' ports, too.

What a TCP port does is one line of words, a specification:

    echo                        gives back what it gets
    discard                     takes what comes, and never answers
    silent                      takes nothing
    close, reset, half-close    does that to each connection at once
    answer WHAT END             when the first bytes have come: half of an answer of redis, pg or http, and then END
    proxy TARGET [bytewise] [cut N END]
                                passes on to redis, pg or http; what comes back goes one byte at a time; after N bytes
                                of it, END
    http                        answers HTTP requests, well or badly: see the class Http

END is close, reset, half-close (it goes on reading) or hang. The ports of NAMED are there from the start. For others,
and to end connections at a chosen time, a test connects to POISE_FAULTS and sends lines; each gets one line back:

    listen SPECIFICATION        the new port; it is closed when this connection is
    end END                     how many of this connection's listeners' connections were ended so
    open                        how many of them are open

and "error: ..." for anything that is wrong.
"""
import argparse
import asyncio
import socket
import struct
import sys
import urllib.parse

LIVE = ("127.0.0.1", "::1", "198.51.100.1", "2001:db8::1")
DEAD = ("198.51.100.66", "2001:db8::66")
FIRST_PORT = 20000  # below the kernel's own choices (32768 and up)

HALF_ANSWERS = {
    "redis": b"$10\r\nhalf",
    "pg": b"R\x00\x00\x00\x08\x00",  # AuthenticationOk is nine bytes
    "http": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
}
NAMED = {
    "POISE_ECHO": "echo",
    "POISE_FAULT_HTTP": "http",
    "POISE_FAULT_CLOSE": "close",
    "POISE_FAULT_RESET": "reset",
    "POISE_FAULT_HALF_CLOSE": "half-close",
    "POISE_FAULT_DISCARD": "discard",
    "POISE_FAULT_SILENT": "silent",
}
for what in HALF_ANSWERS:
    for end in ("close", "reset", "half-close", "hang"):
        NAMED[f"POISE_FAULT_{what}_{end}".upper().replace("-", "_")] = f"answer {what} {end}"
    NAMED[f"POISE_FAULT_{what}_BYTEWISE".upper()] = f"proxy {what} bytewise"

ENDS = ("close", "reset", "half-close", "hang")


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Connection:
    """One accepted socket, with calls that end it in some way or other."""

    def __init__(self, sock):
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self.task = None
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def receive(self, size=65536):
        """b"" at the end."""
        return await self.loop.sock_recv(self.sock, size)

    async def send(self, data, bytewise=False):
        if not bytewise:
            await self.loop.sock_sendall(self.sock, data)
            return
        for i in range(len(data)):
            await self.loop.sock_sendall(self.sock, data[i:i + 1])
            await asyncio.sleep(0.0005 if i < 1000 else 0)

    async def until_gone(self):
        while await self.receive():
            pass

    async def end(self, how):
        if how == "hang":
            await asyncio.Event().wait()
        if how == "half-close":
            self.sock.shutdown(socket.SHUT_WR)
            await self.until_gone()
        if how == "reset":
            self.reset()
        self.sock.close()

    def reset(self):
        """Takes effect when the socket is closed."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# --- what a port does ----------------------------------------------------------------------------------------------------

async def echo(connection):
    while data := await connection.receive():
        await connection.send(data)


async def silent(_):
    await asyncio.Event().wait()


def half_answer(what, how):
    async def handle(connection):
        if await connection.receive():
            await connection.send(HALF_ANSWERS[what])
            await connection.end(how)
    return handle


def proxy(port, bytewise, cut, how):
    async def forth(client, server, back_task):
        try:
            while data := await client.receive():
                await server.send(data)
            server.sock.shutdown(socket.SHUT_WR)  # the answers to what came before still go back
        except OSError:
            back_task.cancel()

    async def back(client, server):
        """True: as much has gone back as should."""
        left = cut
        while left is None or left > 0:
            data = await server.receive()
            if not data:
                client.sock.shutdown(socket.SHUT_WR)
                return False
            data = data[:left]
            await client.send(data, bytewise)
            if left is not None:
                left -= len(data)
        return True

    async def handle(client):
        server = Connection(socket.socket(socket.AF_INET))
        tasks = []
        try:
            await client.loop.sock_connect(server.sock, ("127.0.0.1", port))
            tasks = [asyncio.ensure_future(back(client, server))]
            tasks.append(asyncio.ensure_future(forth(client, server, tasks[0])))
            if await tasks[0]:
                tasks[1].cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await client.end(how)
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():
                raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            server.sock.close()
    return handle


class Http:
    """A server for HTTP/1.1 whose answer is chosen by the path; parameters are in the query, with these defaults.

    Good: /echo (the request's body; X-Method: its method), /duplex (the body's pieces as they come, chunked),
    /request (the request's head as text), /status?code=404, /redirect?to=/echo, /big?size=1000000 (byte i is i % 251),
    /chunked?n=10&size=100 (with the trailers X-Count and X-Last), /until-close (no length), /headers?n=100 (X-N: 0,
    X-N: 1, ...), /late?ms=300 (then the head and "late"), /pieces?n=5&ms=50 (each after so long).

    Bad: /no-head (never answers), /no-body (a head, then nothing), /stuck?n=1 (n pieces of 10 bytes, then nothing),
    /slow-head (the head one byte at a time, for ever), /bytewise (all of a good answer one byte at a time),
    /bad-status, /garbage, /early-close (without an answer), /early-reset, /truncated (50 of 100 bytes, then the end),
    /truncated-chunk, /reset (50 of 100 bytes, then a reset), /early-answer (413 before the body is read, then the end),
    /bad-chunk, /big-head?size=200000 (a header so long).

    A request with "Expect: 100-continue" gets its 100 first, but for /early-answer.
    """

    def __init__(self, connection):
        self.connection = connection
        self.buffer = b""

    async def more(self):
        data = await self.connection.receive()
        self.buffer += data
        return bool(data)

    async def line(self):
        while b"\r\n" not in self.buffer:
            if not await self.more():
                raise ConnectionError
        text, self.buffer = self.buffer.split(b"\r\n", 1)
        return text.decode("latin-1")

    async def exactly(self, size):
        while len(self.buffer) < size:
            if not await self.more():
                raise ConnectionError
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    async def body(self):
        """The pieces of the request's body."""
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while size := int((await self.line()).split(";")[0], 16):
                yield await self.exactly(size)
                await self.line()
            while await self.line():
                pass  # trailers
            return
        left = int(self.headers.get("content-length", 0))
        while left:
            if not self.buffer and not await self.more():
                raise ConnectionError
            piece = await self.exactly(min(left, len(self.buffer)))
            left -= len(piece)
            yield piece

    async def request(self):
        """False: the client has closed."""
        while not self.buffer:
            if not await self.more():
                return False
        self.head = [await self.line()]
        while text := await self.line():
            self.head.append(text)
        self.method, target, _ = self.head[0].split(" ", 2)
        self.headers = {}
        for text in self.head[1:]:
            name, value = text.split(":", 1)
            self.headers[name.lower()] = value.strip()
        url = urllib.parse.urlsplit(target)
        self.path = url.path
        self.query = dict(urllib.parse.parse_qsl(url.query))
        return True

    def number(self, name, default):
        return int(self.query.get(name, default))

    async def send_head(self, *headers, status="200 OK"):
        await self.connection.send(("\r\n".join((f"HTTP/1.1 {status}",) + headers) + "\r\n\r\n").encode("latin-1"))

    async def send_all(self, body, *headers, status="200 OK"):
        await self.send_head(f"Content-Length: {len(body)}", *headers, status=status)
        if self.method != "HEAD":
            await self.connection.send(body)

    async def send_chunk(self, data):
        await self.connection.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def hang(self):
        await self.connection.until_gone()
        raise ConnectionError

    async def serve(self):
        try:
            while await self.request():
                early = self.path == "/early-answer"
                if self.headers.get("expect", "").lower() == "100-continue" and not early:
                    await self.send_head(status="100 Continue")
                pieces = self.body()
                if self.path == "/duplex":
                    await self.duplex(pieces)
                    continue
                self.content = b""
                if not early:
                    self.content = b"".join([piece async for piece in pieces])
                answer = getattr(self, self.path[1:].replace("-", "_") + "_", None)
                if answer is None:
                    await self.send_all(b"no such path\n", status="404 Not Found")
                elif await answer() == "end":
                    return
        except (ConnectionError, ValueError):
            pass

    # The good ones. An answer that ends the connection returns "end".

    async def duplex(self, pieces):
        await self.send_head("Transfer-Encoding: chunked")
        async for piece in pieces:
            await self.send_chunk(piece)
        await self.connection.send(b"0\r\n\r\n")

    async def echo_(self):
        kind = self.headers.get("content-type", "application/octet-stream")
        await self.send_all(self.content, f"X-Method: {self.method}", f"Content-Type: {kind}")

    async def request_(self):
        await self.send_all("\n".join(self.head).encode("latin-1"), "Content-Type: text/plain")

    async def status_(self):
        code = self.number("code", 404)
        if code in (204, 304):
            await self.send_head(status=f"{code} Some")
        else:
            await self.send_all(f"status {code}\n".encode(), status=f"{code} Some")

    async def redirect_(self):
        await self.send_all(b"", f"Location: {self.query.get('to', '/echo')}", status="302 Found")

    async def big_(self):
        size = self.number("size", 1000000)
        await self.send_all((bytes(range(251)) * (size // 251 + 1))[:size])

    async def chunked_(self):
        n, size = self.number("n", 10), self.number("size", 100)
        await self.send_head("Transfer-Encoding: chunked", "Trailer: X-Count, X-Last")
        for i in range(n):
            await self.send_chunk(bytes([97 + i % 26]) * size)
        await self.connection.send(f"0\r\nX-Count: {n}\r\nX-Last: yes\r\n\r\n".encode())

    async def until_close_(self):
        await self.send_head("Connection: close")
        await self.connection.send(b"until close\n")
        return "end"

    async def headers_(self):
        await self.send_all(b"headers\n", *(f"X-N: {i}" for i in range(self.number("n", 100))))

    async def late_(self):
        await asyncio.sleep(self.number("ms", 300) / 1000)
        await self.send_all(b"late\n")

    async def pieces_(self):
        await self.send_head("Transfer-Encoding: chunked")
        for i in range(self.number("n", 5)):
            await asyncio.sleep(self.number("ms", 50) / 1000)
            await self.send_chunk(f"piece {i}\n".encode())
        await self.connection.send(b"0\r\n\r\n")

    # The bad ones.

    async def no_head_(self):
        await self.hang()

    async def no_body_(self):
        await self.send_head("Content-Length: 100")
        await self.hang()

    async def stuck_(self):
        await self.send_head("Transfer-Encoding: chunked")
        for _ in range(self.number("n", 1)):
            await self.send_chunk(b"0123456789")
        await self.hang()

    async def slow_head_(self):
        await self.connection.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            await self.connection.send(b"x")
            await asyncio.sleep(0.05)

    async def bytewise_(self):
        await self.connection.send(b"HTTP/1.1 200 OK\r\nX-Some: thing\r\nTransfer-Encoding: chunked\r\n\r\n"
                                   b"4\r\nbyte\r\n6\r\n by by\r\n2\r\nte\r\n0\r\n\r\n", bytewise=True)

    async def bad_status_(self):
        await self.connection.send(b"HTTP/1.1 banana\r\nContent-Length: 0\r\n\r\n")
        return "end"

    async def garbage_(self):
        await self.connection.send(bytes(range(256)) * 4)
        return "end"

    async def early_close_(self):
        return "end"

    async def early_reset_(self):
        self.connection.reset()
        return "end"

    async def truncated_(self):
        await self.send_head("Content-Length: 100")
        await self.connection.send(b"t" * 50)
        return "end"

    async def truncated_chunk_(self):
        await self.send_head("Transfer-Encoding: chunked")
        await self.connection.send(b"64\r\n" + b"t" * 50)
        return "end"

    async def bad_chunk_(self):
        await self.send_head("Transfer-Encoding: chunked")
        await self.connection.send(b"banana\r\n\r\n")
        return "end"

    async def reset_(self):
        await self.truncated_()
        await asyncio.sleep(0.1)  # a reset may overtake what was sent before it
        self.connection.reset()
        return "end"

    async def early_answer_(self):
        await self.send_all(b"too much\n", "Connection: close", status="413 Content Too Large")
        self.connection.sock.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.1)
        return "end"

    async def big_head_(self):
        await self.send_all(b"big\n", "X-Big: " + "b" * self.number("size", 200000))


async def http(connection):
    await Http(connection).serve()


def handler(words, targets):
    """What a specification means; ValueError if nothing."""
    match words:
        case ["echo"]:
            return echo
        case ["discard"]:
            return Connection.until_gone
        case ["silent"]:
            return silent
        case ["http"]:
            return http
        case ["close" | "reset" | "half-close" as how]:
            return lambda connection: connection.end(how)
        case ["answer", what, how] if what in HALF_ANSWERS and how in ENDS:
            return half_answer(what, how)
        case ["proxy", target, *rest] if target in targets:
            bytewise = rest[:1] == ["bytewise"]
            match rest[bytewise:]:
                case []:
                    return proxy(targets[target], bytewise, None, None)
                case ["cut", n, how] if how in ENDS:
                    return proxy(targets[target], bytewise, int(n), how)
    raise ValueError(f"no such specification: {' '.join(words)}")


class Listener:
    """A port on all live addresses, and its connections."""

    def __init__(self, addresses, port, handle):
        self.handle = handle
        self.port = port
        self.connections = set()
        self.sockets = [listening(address, port, 1024) for address in addresses]
        self.tasks = [asyncio.ensure_future(self.accept(sock)) for sock in self.sockets]

    async def accept(self, listener):
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            connection = Connection(sock)
            self.connections.add(connection)
            connection.task = asyncio.ensure_future(self.run(connection))

    async def run(self, connection):
        try:
            await self.handle(connection)
        except OSError:
            pass  # the client is gone
        finally:
            self.connections.discard(connection)
            connection.sock.close()

    async def end(self, how):
        ended = list(self.connections)
        for connection in ended:
            if how == "half-close":
                connection.sock.shutdown(socket.SHUT_WR)
                continue
            if how == "reset":
                connection.reset()
            connection.task.cancel()
        if how != "half-close":
            await asyncio.gather(*(connection.task for connection in ended), return_exceptions=True)
        return len(ended)

    async def close(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for sock in self.sockets:
            sock.close()
        await self.end("close")


def listening(address, port, backlog):
    sock = socket.socket(family(address))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in address:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((address, port))
    sock.listen(backlog)
    sock.setblocking(False)
    return sock


class Faults:
    def __init__(self, targets, ipv6):
        self.targets = targets
        self.live, self.dead = ([a for a in addresses if ipv6 or ":" not in a] for addresses in (LIVE, DEAD))
        self.last_port = FIRST_PORT - 1
        self.free_ports = []
        self.kept = []  # sockets that only have to stay open

    def listen(self, handle):
        if self.free_ports:
            port = self.free_ports.pop(0)
        else:
            self.last_port += 1
            port = self.last_port
        return Listener(self.live, port, handle)

    async def swallow(self, port):
        """On the dead addresses: a full backlog lets nobody in, and refuses nobody."""
        loop = asyncio.get_running_loop()
        for address in self.dead:
            self.kept.append(listening(address, port, 0))
            while True:
                sock = socket.socket(family(address))
                sock.setblocking(False)
                self.kept.append(sock)
                try:
                    await asyncio.wait_for(loop.sock_connect(sock, (address, port)), 0.2)
                except asyncio.TimeoutError:
                    break

    async def control(self, connection):
        listeners = []
        buffer = b""
        try:
            while data := await connection.receive():
                buffer += data
                while b"\n" in buffer:
                    line, buffer = buffer.split(b"\n", 1)
                    try:
                        answer = await self.command(line.decode().split(), listeners)
                    except (OSError, ValueError) as error:
                        answer = f"error: {error}"
                    await connection.send(f"{answer}\n".encode())
        finally:
            for listener in listeners:
                await listener.close()
                self.free_ports.append(listener.port)

    async def command(self, words, listeners):
        match words:
            case ["listen", *specification]:
                listeners.append(self.listen(handler(specification, self.targets)))
                return listeners[-1].port
            case ["end", "close" | "reset" | "half-close" as how]:
                return sum([await listener.end(how) for listener in listeners])
            case ["open"]:
                return sum(len(listener.connections) for listener in listeners)
        raise ValueError(f"no such command: {' '.join(words)}")

    async def run(self):
        ports = {"POISE_FAULTS": self.listen(self.control).port}
        for name, specification in NAMED.items():
            ports[name] = self.listen(handler(specification.split(), self.targets)).port
        await asyncio.gather(*(self.swallow(port) for port in [*ports.values(), *self.targets.values()]))
        for name, answer in DNS.items():
            self.last_port += 1
            await asyncio.get_running_loop().create_datagram_endpoint(
                lambda answer=answer: Dns(answer), local_addr=("127.0.0.1", self.last_port))
            ports[f"POISE_FAULT_DNS_{name}".upper()] = self.last_port
        for name, port in ports.items():
            print(f"{name}={port}")
        print("ready", flush=True)
        await asyncio.Event().wait()


# --- DNS (RFC 1035), over UDP alone ---------------------------------------------------------------------------------------

A, AAAA = 1, 28
RESPONSE, TRUNCATED, RECURSION = 0x8000, 0x0200, 0x0180  # recursion: desired and available
AUTHORITATIVE = 0x0400
SERVFAIL, REFUSED = 2, 5
BROKEN = 1 << 16  # none of the flags: a record is announced, and breaks off in the middle
OTHER_OPCODE = 0x1000  # dnsmasq would mend a broken answer to a query (SERVFAIL); this it passes on
ADDRESS = {A: socket.inet_pton(socket.AF_INET, "127.0.0.1"), AAAA: socket.inet_pton(socket.AF_INET6, "::1")}

# What is said, as flags or bytes, and after how long; None: nothing. By the type that is asked for.
DNS = {
    "silent": lambda kind: (None, 0),
    "garbage": lambda kind: (b"\xff" * 40, 0),
    "nonsense": lambda kind: (BROKEN, 0),
    "servfail": lambda kind: (SERVFAIL, 0),
    "refused": lambda kind: (REFUSED, 0),
    "truncated": lambda kind: (TRUNCATED, 0),  # and there is no TCP to ask again
    "late": lambda kind: (0, 0.5),
    "late6": lambda kind: (0, 1 if kind == AAAA else 0),
    "late4": lambda kind: (0, 1 if kind == A else 0),
    "soon4": lambda kind: (0, 0.05 if kind == A else 0),
    "never6": lambda kind: (None if kind == AAAA else 0, 0),
    "half": lambda kind: (AUTHORITATIVE, 0) if kind == AAAA else (SERVFAIL, 0.1),  # no such address, and a failure
}


class Dns(asyncio.DatagramProtocol):
    def __init__(self, answer):
        self.answer = answer

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        end = 12
        while end < len(data) and data[end] != 0:
            end += data[end] + 1
        end += 5
        if end > len(data):
            return
        kind = int.from_bytes(data[end - 4:end - 2], "big")
        what, delay = self.answer(kind)
        if what is None:
            return
        if isinstance(what, int):
            records = b""
            if what in (0, BROKEN) and kind in ADDRESS:
                records = struct.pack(">HHHIH", 0xC00C, kind, 1, 1, len(ADDRESS[kind])) + ADDRESS[kind]
            if what == BROKEN:
                what, records = OTHER_OPCODE, records[:8]
            what = data[:2] + struct.pack(">HHHHH", RESPONSE | RECURSION | what, 1, bool(records), 0, 0) + \
                data[12:end] + records
        asyncio.get_running_loop().call_later(delay, self.transport.sendto, what, address)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", metavar="NAME=PORT", action="append", default=[])
    parser.add_argument("--no-ipv6", action="store_true")
    options = parser.parse_args()
    targets = {name: int(port) for name, port in (target.split("=") for target in options.target)}
    try:
        asyncio.run(Faults(targets, not options.no_ipv6).run())
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Runs the examples natively (on both backends) and as components, with real traffic from outside, and checks them.

    tests/examples.py [--native DIR] [--component DIR] [--host HOST]... [NAME...]

DIR holds the built examples; HOST is one of tools/wasi-run's (wasmtime-48, wasmtime-47, jco). NAME picks tests. A line
a test; at the end "N passed, N failed", and exit status 1 if any failed.
"""
import argparse
import os
import re
import resource
import socket
import struct
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATIENCE = 20  # seconds; a component is compiled when it starts


class Failure(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failure(what)


class Program:
    """A running example. Ends with the `with` block."""

    def __init__(self, place, name, *arguments, descriptors=None):
        limit = descriptors and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors)))
        self.process = subprocess.Popen(place.command(name) + list(arguments), env=place.environment(),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, errors='replace', preexec_fn=limit)
        self.lines, self.changed = [], threading.Condition()
        self.thread = threading.Thread(target=self.copy, daemon=True)
        self.thread.start()

    def copy(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip('\n'))
                self.changed.notify_all()

    def expect(self, pattern, seconds=PATIENCE):
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                for line in self.lines:
                    if match := re.search(pattern, line):
                        return match
                self.check_running()
                check(time.monotonic() < end, f'not printed within {seconds} s: {pattern}')
                self.changed.wait(0.1)

    def check_running(self):
        if self.process.poll() is not None and not self.thread.is_alive():
            raise Failure(f'the program ended, status {self.process.returncode}: ' + ' / '.join(self.lines[-8:])[:600])

    def port(self):
        return int(self.expect(r'^port (\d+)').group(1))

    def write(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def processor_time(self):
        with open(f'/proc/{self.process.pid}/stat') as file:
            user, system = file.read().rsplit(')', 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf('SC_CLK_TCK')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.thread.join(PATIENCE)


class Native:
    def __init__(self, folder, backend):
        self.folder, self.backend, self.name = folder, backend, f'native {backend}'

    def command(self, name):
        return [os.path.join(self.folder, name)]

    def environment(self):
        return dict(os.environ, POISE_BACKEND=self.backend)


class Component:
    def __init__(self, folder, host):
        self.folder, self.host, self.name = folder, host, f'component {host}'

    def command(self, name):
        return [os.path.join(ROOT, 'tools', 'wasi-run'), '--host', self.host, os.path.join(self.folder, name + '.wasm')]

    def environment(self):
        return None


def connect(port):
    connection = socket.create_connection(('127.0.0.1', port), PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def receive(connection, size):
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(min(65536, size - len(data)))
        check(piece, f'the connection ended after {len(data)} bytes of {size}')
        data += piece
    return bytes(data)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    connection.close()


def answers(port, text=b'are you there?'):
    with connect(port) as connection:
        connection.sendall(text)
        check(receive(connection, len(text)) == text, 'other bytes came back')


# ---- the tests: each is called with a place to run in ---------------------------------------------------------------


def echo_bytes(place):
    with Program(place, 'echo') as program:
        with connect(program.port()) as connection:
            for text in (b'x', b'hello', bytes(range(256)) * 40):
                connection.sendall(text)
                check(receive(connection, len(text)) == text, 'other bytes came back')
            connection.shutdown(socket.SHUT_WR)
            check(connection.recv(1) == b'', 'no end came back')


def echo_much(place):
    """More than any buffer holds, sent before anything is read; half-closed, all of it comes back, and the end."""
    data = os.urandom(1 << 20) * (1 if place.name.endswith('jco') else 8)
    with Program(place, 'echo') as program, connect(program.port()) as connection:
        half_close = not place.name.endswith('jco')  # jco ends both directions then

        def send():
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        time.sleep(0.3)
        check(receive(connection, len(data)) == data, 'other bytes came back')
        thread.join(PATIENCE)
        check(not half_close or connection.recv(1) == b'', 'no end came back')


def echo_many(place):
    with Program(place, 'echo') as program:
        port = program.port()
        connections = [connect(port) for _ in range(100)]
        for turn in range(3):
            for i, connection in enumerate(connections):
                connection.sendall(b'%d/%d' % (turn, i))
            for i, connection in enumerate(connections):
                text = b'%d/%d' % (turn, i)
                check(receive(connection, len(text)) == text, 'other bytes came back')
        for connection in connections:
            connection.close()
        answers(port)


def echo_reset(place):
    """Connections that are reset, before they are accepted and after: the server goes on."""
    with Program(place, 'echo') as program:
        port = program.port()
        for _ in range(20):
            reset(connect(port))
        for _ in range(20):
            connection = connect(port)
            connection.sendall(b'x' * 1000)
            reset(connection)
        answers(port)
        program.check_running()


def echo_no_descriptors(place):
    """Fewer descriptors than connections: those accepted are served, the processor rests, the others get their turn."""
    if not isinstance(place, Native):
        return 'a component has no limit of its own'
    with Program(place, 'echo', descriptors=16) as program:
        port = program.port()
        connections = [connect(port) for _ in range(24)]
        for connection in connections:
            connection.sendall(b'hello')
            connection.settimeout(0.2)
        served = []
        for connection in connections:
            try:
                served.append(receive(connection, 5))
            except TimeoutError:
                break
        check(0 < len(served) < 16, f'{len(served)} of 24 connections served with 16 descriptors')
        before = program.processor_time()
        time.sleep(1)
        used = program.processor_time() - before
        check(used < 0.2, f'it used {used:.2f} s of processor time in a second: it spins')
        for connection in connections[:len(served)]:
            connection.close()
        for connection in connections[len(served):]:
            connection.settimeout(PATIENCE)
            check(receive(connection, 5) == b'hello', 'other bytes came back')
            connection.close()


def udp_counts(place):
    """Each client has its own count and its own timer, which starts again with each datagram."""
    patience = 0.6
    with Program(place, 'udp_timeout', str(int(patience * 1000))) as program:
        server = ('127.0.0.1', program.port())
        if place.name.endswith('jco'):
            time.sleep(0.5)  # it loses what comes before the program waits for the first time
        kind = (socket.AF_INET, socket.SOCK_DGRAM)
        with socket.socket(*kind) as a, socket.socket(*kind) as b:

            def ask(client, expected):
                client.sendto(b'hello', server)
                answer = client.recv(100)
                check(answer == expected, f'{answer!r} instead of {expected!r}')

            a.settimeout(PATIENCE)
            b.settimeout(PATIENCE)
            ask(a, b'datagram 1')
            ask(b, b'datagram 1')
            for i in range(2, 5):  # for longer than the patience: a is not forgotten
                time.sleep(patience / 2)
                ask(a, b'datagram %d' % i)
            last = time.monotonic()
            check(b.recv(100) == b'forgotten after 1', 'b was not forgotten')
            check(a.recv(100) == b'forgotten after 4', 'a was not forgotten')
            silent = time.monotonic() - last
            check(patience - 0.05 <= silent < patience + 2, f'a was forgotten after {silent:.3f} s, not {patience} s')
            ask(a, b'datagram 1')


def hello_ticks(place):
    with Program(place, 'hello') as program:
        program.write('hello\n')
        if isinstance(place, Component):  # which takes its time to start; libc writes the first line at once
            program.expect('^6 bytes have come')
        time.sleep(1.5)
        program.process.stdin.close()  # into a pipe its output may come at the end only
        check(program.process.wait(PATIENCE) == 0, f'exit status {program.process.returncode}')
        program.expect('^6 bytes have come')
        program.expect('^a second has passed')
        program.expect('^0 bytes have come')


def everything_reset(place):
    """Peers that have gone when their address is asked for: libc alone would abort a component."""
    with Program(place, 'everything', '60') as program:
        port = int(program.expect(r'TCP port (\d+)').group(1))
        program.expect('tick 1')
        for _ in range(20):
            reset(connect(port))
        answers(port)
        check(program.expect(r'tick [4-9]'), 'no more ticks')
        program.write('quit\n')
        check(program.process.wait(PATIENCE) == 0, f'exit status {program.process.returncode}')


def everything_refused(place):
    with socket.create_server(('127.0.0.1', 0)) as server:
        nobody = server.getsockname()[1]
    with Program(place, 'everything', '60', str(nobody)) as program:
        try:
            program.expect(r'client +not connected: Connection refused', 5)
        except Failure:  # a connect may fail at once
            check(any('TCP client: Connection refused' in line for line in program.lines), program.lines)
            return None
        program.expect('tick 3')
        program.write('quit\n')
        check(program.process.wait(PATIENCE) == 0, f'exit status {program.process.returncode}')


def everything_time_is_up(place):
    with Program(place, 'everything', '1') as program:
        program.expect('time is up')
        check(program.process.wait(PATIENCE) == 0, f'exit status {program.process.returncode}')


def everything_looks_up(place):
    """A name that needs no server."""
    with socket.create_server(('127.0.0.1', 0)) as server, \
            Program(place, 'everything', '60', str(server.getsockname()[1]), 'a.localhost') as program:
        program.expect(r'lookup +a\.localhost is \[::1\]$')
        program.expect(r'lookup +a\.localhost is 127\.0\.0\.1$')
        program.expect(r'lookup +that was all')
        program.write('quit\n')
        check(program.process.wait(PATIENCE) == 0, f'exit status {program.process.returncode}')


def connect_answers(place):
    with socket.create_server(('127.0.0.1', 0)) as server:
        server.settimeout(PATIENCE)
        port = str(server.getsockname()[1])
        with Program(place, 'connect', 'localhost', port, 'hello there') as program:
            connection, _ = server.accept()
            connection.settimeout(PATIENCE)
            check(receive(connection, 12) == b'hello there\n', 'another line came')
            connection.sendall(b'and to you\n')
            program.expect(f'^connected to 127.0.0.1:{port}$')  # whether there is IPv6 or not: nobody is at ::1
            program.expect('^the answer has 11 bytes: and to you$')
            check(program.process.wait(PATIENCE) == 0, f'exit status {program.process.returncode}')
            connection.close()
    with Program(place, 'connect', 'localhost', port) as program:
        program.expect('localhost: Connection refused')
        check(program.process.wait(PATIENCE) != 0, 'it says that it worked')


TESTS = [echo_bytes, echo_much, echo_many, echo_reset, echo_no_descriptors, udp_counts, hello_ticks, everything_reset,
         everything_refused, everything_time_is_up, everything_looks_up, connect_answers]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--native', default=os.path.join(ROOT, 'build', 'native', 'examples'))
    parser.add_argument('--component', default=os.path.join(ROOT, 'build', 'wasip2', 'examples'))
    parser.add_argument('--host', action='append')
    parser.add_argument('name', nargs='*')
    options = parser.parse_args()
    places = [Native(options.native, backend) for backend in ('epoll', 'poll')]
    places += [Component(options.component, host) for host in options.host or ['wasmtime-48', 'wasmtime-47', 'jco']]
    passed = failed = 0
    for place in places:
        for test in TESTS:
            if options.name and test.__name__ not in options.name:
                continue
            try:
                note = test(place)
            except (Failure, OSError, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f'not ok  {place.name:<22} {test.__name__}: {type(error).__name__}: {error}', flush=True)
                continue
            passed += note is None
            word, note = ('ok', '') if note is None else ('skip', ': ' + note)
            print(f'{word:<7} {place.name:<22} {test.__name__}{note}', flush=True)
    print(f'{passed} passed, {failed} failed')
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(main())

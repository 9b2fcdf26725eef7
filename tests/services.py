#!/usr/bin/env python3
"""Runs the tests of tests/services against real servers, and prints a table as tests/run.py does.

    tests/services.py --native build/native --wasip2 build/wasip2 [TEST...]
    tests/services.py --shell [COMMAND [ARGUMENT]...]

Each is a build folder made with -DPOISE_BUILD_SERVICES=ON, with the program `services` in its tests/. TEST is a group
or a test. --shell runs a command beside the servers instead (else the shell), with the same environment; for a
component hand it on: tools/wasi-run $POISE_WASI_ENV PROGRAM.wasm.

Redis, PostgreSQL, nginx, dnsmasq and tests/services/faults.py run in network, mount, process and (for anybody but root)
user namespaces of their own, with a loopback of their own, and their files in memory: nothing of the machine is used or
changed, and nothing is left (after SIGKILL an empty folder in /tmp). tools/setup --tests puts the servers there.

In the environment (ports are open on 127.0.0.1, ::1, 198.51.100.1, 2001:db8::1):

    POISE_REDIS, POISE_PG, POISE_HTTP     the ports of Redis, PostgreSQL and nginx
    POISE_PG_USER, _PASSWORD, _DATABASE   for PostgreSQL
    POISE_DNS                             the port of dnsmasq; /etc/resolv.conf names it, too
    POISE_ECHO, POISE_FAULTS, POISE_FAULT_...   of tests/services/faults.py, which says what they do
    POISE_RUN                             another word in each column: for keys and channels of its own
    POISE_IPV6                            1, or 0 if the machine has no IPv6
    POISE_REFUSES                         only in the columns refused@HOST: the host refuses network and names there. They
                                          run the tests of the group Refused, and no other column does

nginx has /hello.txt ("hello"), /empty, /big.bin (5,000,000 bytes; byte i is i % 251), /redirect (302 to /hello.txt),
and 404 for all else. The names are those of ZONE, below.
"""
import ctypes
import fcntl
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import run  # tests/run.py: the columns and the table

TOP = run.TOP
TOOLCHAIN = Path(os.environ.get("POISE_TOOLCHAIN", TOP / ".toolchain")).resolve()
FAULTS = TOP / "tests" / "services" / "faults.py"
PROGRAM = "services/services"  # below tests/ of a build folder

# Nobody else is in the namespace, so that these are free. They are not the usual ones: a test that ignores its
# environment finds nothing.
REDIS, PG, HTTP, DNS = 16379, 15432, 18080, 53
LIVE4, LIVE6 = ("127.0.0.1", "198.51.100.1"), ("::1", "2001:db8::1")
DEAD4, DEAD6 = "198.51.100.66", "2001:db8::66"  # faults.py sees to it that they swallow
MANY4 = ["127.0.0.1"] + [f"127.0.0.{i}" for i in range(12, 19)]
MANY6 = [f"2001:db8::{i}" for i in range(11, 19)]
CROWD = [f"127.0.1.{i}" for i in range(1, 21)]
BOTH = ["127.0.0.1", "::1"]
# In /etc/hosts: a name that no DNS knows, one that DNS has another address of, and one for which it would be silent.
HOSTS = {"only-in-hosts": "127.0.0.9", "in-hosts.poise.test": "127.0.0.9", "host.never6.poise.test": "127.0.0.9"}
SEARCH = "corp.poise.test"
NOBODY = 65534

# What a name stands for. All others in poise.test, and all names outside of it, do not exist.
ZONE = {
    "echo": BOTH, "redis": BOTH, "pg": BOTH, "web": BOTH, "faults": BOTH,
    "v4": ["127.0.0.1"],
    "v6": ["::1"],
    "many": MANY4 + MANY6,  # but for 127.0.0.1 they refuse
    "dead": [DEAD6, "127.0.0.1"],  # a connect to the first one hangs; it sorts first (RFC 6724)
    "dead4": [DEAD4, "198.51.100.1"],
    "all-dead": [DEAD6, DEAD4],
    "crowd": CROWD,  # for listeners of the tests' own
    "in-hosts": ["::1"],
    "inner.corp": BOTH, "deep.inner.corp": BOTH,  # "inner", "deep.inner": below the search domain
    "only4": ["127.0.0.1"],
    "only4.poise.test.corp": [MANY6[0]],  # not for only4.poise.test, which has no IPv6 address of its own
    "unreachable": ["192.0.2.1", "2001:db8:1::1"],  # there is no route
}
ALIASES = {"alias": "echo"}
NO_ADDRESSES = "empty"  # exists, with other records only
# DNS that misbehaves: NAME.poise.test is answered so by faults.py. silent: not at all; late: after 0.5 s; late6: no AAAA
# for a second; soon4: no A for 50 ms; never6: no AAAA ever; half: no AAAA, and for A the server fails. nonsense is an
# answer that breaks off, garbage not even that.
FAULTY = ["silent", "garbage", "nonsense", "servfail", "refused", "truncated", "late", "late6", "late4", "soon4",
          "never6", "half"]


def die(what, *then):
    print(f"services.py: {what}", file=sys.stderr)
    for line in then:
        print(f"             {line}", file=sys.stderr)
    sys.exit(2)


LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
MS_BIND = 4096


def die_with_us():
    """For a child, before it becomes another program."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


# --- outside: the namespaces ---------------------------------------------------------------------------------------------

def namespaces():
    """The command that makes them."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    for kinds in (["--pid", "--fork", "--kill-child", "--mount-proc"], ["--fork", "--kill-child"]):
        command = ["unshare", "--mount", "--net", *user, *kinds]
        try:
            tried = subprocess.run(command + ["true"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        except FileNotFoundError:
            die("there is no `unshare` here.", "It is in Debian's package util-linux.")
        if tried.returncode == 0:
            return command
    die("this machine does not let us make namespaces:", tried.stderr.strip(),
        "Run this as root; in a container, one that may (docker run --privileged); as somebody else, allow",
        "user namespaces (sysctl kernel.unprivileged_userns_clone=1, or that of AppArmor). In a chroot, its root has to be",
        "a mount point (mount --bind ROOT ROOT).")


def outside(arguments):
    # Not where $TMPDIR says: another user (PostgreSQL's) has to be able to go there.
    scratch = tempfile.mkdtemp(prefix="poise-services-", dir="/tmp")
    os.chmod(scratch, 0o755)
    inside = None
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, frame: sys.exit(128 + number))
        inside = subprocess.Popen([*namespaces(), sys.executable, __file__, "--inside", scratch, *arguments],
                                  preexec_fn=die_with_us)
        while True:
            try:
                status = inside.wait()
                return status if status >= 0 else 128 - status
            except KeyboardInterrupt:
                pass  # it goes to those inside as well: they end
    finally:
        if inside is not None and inside.poll() is None:
            inside.kill()  # and with it, all that is inside
            inside.wait()
        shutil.rmtree(scratch, ignore_errors=True)


# --- inside: network and files -------------------------------------------------------------------------------------------

def mount(source, target, kind=None, flags=0, options=None):
    arguments = [None if a is None else os.fsencode(a) for a in (source, target, kind)]
    if LIBC.mount(*arguments, ctypes.c_ulong(flags), options and options.encode()) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), str(target))


def bring_up_loopback():
    """With the addresses that are not there by themselves. Returns whether there is IPv6."""
    SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, IFF_UP, IFF_RUNNING = 0x8914, 0x8916, 0x891C, 1, 0x40
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP | IFF_RUNNING))
        for i, address in enumerate((LIVE4[1], DEAD4)):
            for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, "255.255.255.255")):
                fcntl.ioctl(sock, request, struct.pack("16sHH4s8x", b"lo:%d" % (i + 1), socket.AF_INET, 0,
                                                       socket.inet_aton(value)))
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            for address in (LIVE6[1], DEAD6, *MANY6):
                fcntl.ioctl(sock, SIOCSIFADDR, struct.pack("16sIi", socket.inet_pton(socket.AF_INET6, address), 128,
                                                           socket.if_nametoindex("lo")))
            sock.bind(("::1", 0))
    except OSError as error:
        print(f"services.py: the machine has no IPv6 ({error.strerror}): what needs it is skipped", flush=True)
        return False
    return True


def put_files(scratch):
    """Over the machine's own, in this namespace alone. Without the last three libc does the same."""
    files = {
        "/etc/resolv.conf": f"nameserver 127.0.0.1\nsearch {SEARCH}\noptions timeout:1 attempts:3\n",
        "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n" +
                      "".join(f"{address} {name}\n" for name, address in HOSTS.items()),
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "/etc/gai.conf": "",
        "/etc/host.conf": "multi on\n",
    }
    for path, text in files.items():
        if os.path.exists(path):
            own = scratch / os.path.basename(path)
            own.write_text(text)
            mount(own, os.path.realpath(path), flags=MS_BIND)
        elif path in ("/etc/resolv.conf", "/etc/hosts"):
            die(f"this machine has no {path}, and what is not there can't be replaced.", f"Make an empty one: touch {path}")
    for path in ("/run/nscd", "/run/systemd/resolve"):  # services that know the machine's names
        if os.path.isdir(path) and not os.path.realpath("/etc/resolv.conf").startswith(path):
            mount("tmpfs", path, "tmpfs")


# --- inside: the servers -------------------------------------------------------------------------------------------------

def library_path(root):
    return ":".join(str(path) for pattern in ("usr/lib/*-linux-*", "lib/*-linux-*") for path in root.glob(pattern))


def program(root, name):
    """That of tools/setup --tests, else the machine's."""
    for folder in (root / "usr", Path("/usr")):
        for pattern in ("lib/postgresql/*/bin", "bin", "sbin"):
            for path in folder.glob(f"{pattern}/{name}"):
                if os.access(path, os.X_OK):
                    return str(path)
    die(f"{name} is not here.", "Run tools/setup --tests.")


class Servers:
    def __init__(self, scratch, ipv6):
        self.scratch = scratch
        self.addresses = list(LIVE4) + (list(LIVE6) if ipv6 else [])
        self.ipv6 = ipv6
        self.running = []
        self.environment = {"POISE_REDIS": REDIS, "POISE_PG": PG, "POISE_HTTP": HTTP, "POISE_DNS": DNS,
                            "POISE_PG_USER": "poise", "POISE_PG_PASSWORD": "se:cret/@", "POISE_PG_DATABASE": "poise",
                            "POISE_IPV6": int(ipv6)}
        # The way to the checkout may be closed to PostgreSQL's user.
        self.root = scratch / "servers"
        self.root.mkdir()
        if (TOOLCHAIN / "servers").is_dir():
            mount(TOOLCHAIN / "servers", self.root, flags=MS_BIND)
        self.variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": library_path(self.root), "LC_ALL": "C",
                          "TZ": "UTC", "HOME": str(scratch)}

    def start(self, name, command, user=None, **options):
        folder = self.scratch / name
        folder.mkdir(exist_ok=True)
        identity = {}
        if user is not None:
            # Who is root in a user namespace has no other user: one more namespace makes him somebody else.
            if mapped(user):
                identity = {"user": user, "group": user, "extra_groups": []}
            else:
                command = ["unshare", "--user", f"--map-user={user}", f"--map-group={user}", *command]

        log = open(self.scratch / f"{name}.log", "ab")
        return subprocess.Popen(command, cwd=folder, env=self.variables, stderr=log, preexec_fn=die_with_us,
                                start_new_session=True, **({"stdin": subprocess.DEVNULL, "stdout": log} | identity | options))

    def failed(self, name, why):
        log = (self.scratch / f"{name}.log").read_text(errors="replace").splitlines()
        die(f"{name} {why}. Its last words:", *log[-20:])

    def run(self, name, command, **options):
        """To its end, which has to be a good one."""
        try:
            process = self.start(name, command, **options)
        except PermissionError:
            self.failed(name, f"can't be run as its own user: is each folder on the way to {command[0]} open to all (chmod a+x)?")
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            self.failed(name, f"({os.path.basename(command[0])}) takes more than 120 s")
        if process.returncode != 0:
            self.failed(name, f"({os.path.basename(command[0])}) ended with status {process.returncode}")

    def serve(self, name, command, **options):
        process = self.start(name, command, **options)
        self.running.append((name, process))
        return process

    def await_port(self, name, port):
        process = dict(self.running)[name]
        end = time.monotonic() + 60
        for address in self.addresses:
            while True:
                try:
                    socket.create_connection((address, port), 5).close()
                    break
                except OSError:
                    if process.poll() is not None:
                        self.failed(name, f"ended with status {process.returncode}")
                    if time.monotonic() > end:
                        self.failed(name, f"does not answer at {address}, port {port}")
                    time.sleep(0.02)

    def start_redis(self):
        self.serve("redis", [program(self.root, "redis-server"), "--port", str(REDIS), "--bind", *self.addresses,
                             "--save", "", "--appendonly", "no", "--protected-mode", "no", "--maxclients", "200"])

    def start_nginx(self):
        folder = self.scratch / "nginx"
        (folder / "www").mkdir(parents=True)
        (folder / "www" / "hello.txt").write_text("hello")
        (folder / "www" / "empty").write_text("")
        (folder / "www" / "big.bin").write_bytes((bytes(range(251)) * (5_000_000 // 251 + 1))[:5_000_000])
        listen = "".join(f"listen {'[' + a + ']' if ':' in a else a}:{HTTP};" for a in self.addresses)
        paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(f"""
            user root; daemon off; master_process off; pid {folder}/pid; error_log stderr;
            events {{ worker_connections 1024; }}
            http {{ access_log off; {paths} default_type application/octet-stream; types {{ text/plain txt; }}
                server {{ {listen} root {folder}/www; location = /redirect {{ return 302 /hello.txt; }} }} }}
            """)
        self.serve("nginx", [program(self.root, "nginx"), "-p", str(folder), "-e", "stderr", "-c", f"{folder}/nginx.conf"])

    def start_postgres(self):
        folder = self.scratch / "postgres"
        folder.mkdir()
        if mapped(NOBODY):
            os.chown(folder, NOBODY, NOBODY)
        data = f"{folder}/data"
        password = folder / "password"
        password.write_text(self.environment["POISE_PG_PASSWORD"])
        password.chmod(0o644)
        self.run("postgres", [program(self.root, "initdb"), "-D", data, "-U", "poise", f"--pwfile={password}", "-A",
                              "scram-sha-256", "--no-sync", "--no-locale", "-E", "UTF8", "--no-instructions"], user=NOBODY)
        with open(f"{data}/pg_hba.conf", "a") as access:
            access.write("host all all all scram-sha-256\n")
        settings = {"port": PG, "listen_addresses": ",".join(self.addresses), "unix_socket_directories": "", "fsync": "off",
                    "max_connections": 50, "jit": "off", "dynamic_shared_memory_type": "mmap", "shared_buffers": "16MB"}
        with open(f"{data}/postgresql.auto.conf", "a") as configuration:
            configuration.writelines(f"{key} = '{value}'\n" for key, value in settings.items())
        postgres = program(self.root, "postgres")
        with tempfile.TemporaryFile() as statements:
            statements.write(b"CREATE DATABASE poise\n")
            statements.seek(0)
            self.run("postgres", [postgres, "--single", "-D", data, "postgres"], user=NOBODY, stdin=statements)
        self.serve("postgres", [postgres, "-D", data], user=NOBODY)

    def start_faults(self):
        command = [sys.executable, str(FAULTS)]
        for name, port in (("redis", REDIS), ("pg", PG), ("http", HTTP)):
            command += ["--target", f"{name}={port}"]
        if not self.ipv6:
            command.append("--no-ipv6")
        process = self.serve("faults", command, stdout=subprocess.PIPE)
        for line in process.stdout:
            if line == b"ready\n":
                return
            name, port = line.decode().split("=")
            self.environment[name] = int(port)
        self.failed("faults", "ended")

    def start_dnsmasq(self):
        # Not --no-daemon: then one client that keeps a TCP connection open would stall everybody's names.
        command = [program(self.root, "dnsmasq"), "--keep-in-foreground", "--user=root", "--log-facility=-", "--pid-file=",
                   "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                   "--port", str(DNS), "--listen-address=127.0.0.1", "--bind-interfaces", "--no-round-robin",
                   "--local=/poise.test/", "--address=/#/", "--cache-size=0", "--dns-forward-max=5000"]
        for name, addresses in ZONE.items():
            command += [f"--host-record={name}.poise.test,{address}" for address in addresses
                        if self.ipv6 or ":" not in address]
        command += [f"--cname={alias}.poise.test,{name}.poise.test" for alias, name in ALIASES.items()]
        command.append(f"--txt-record={NO_ADDRESSES}.poise.test,some text")
        for name in FAULTY:
            port = self.environment[f"POISE_FAULT_DNS_{name}".upper()]
            command.append(f"--server=/{name}.poise.test/127.0.0.1#{port}")
        self.serve("dnsmasq", command)

    def start_all(self):
        self.start_redis()
        self.start_nginx()
        self.start_faults()
        self.start_dnsmasq()
        self.start_postgres()
        for name, port in (("redis", REDIS), ("nginx", HTTP), ("postgres", PG)):
            self.await_port(name, port)
        self.await_names()

    def await_names(self):
        process = dict(self.running)["dnsmasq"]
        end = time.monotonic() + 60
        while True:
            try:
                socket.getaddrinfo("v4.poise.test", 1)
                return
            except OSError as error:
                if process.poll() is not None:
                    self.failed("dnsmasq", f"ended with status {process.returncode}")
                if time.monotonic() > end:
                    self.failed("dnsmasq", f"does not answer: {error}")
                time.sleep(0.02)

    def check_alive(self):
        """Complains of a server that has ended while the tests ran."""
        return [f"{name} ended with status {process.returncode}" for name, process in self.running
                if process.poll() is not None]

    def stop(self):
        for _, process in self.running:
            process.send_signal(signal.SIGINT)  # PostgreSQL: fast; the others just end
        for _, process in self.running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def mapped(user):
    """Whether this user exists in our user namespace."""
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = (int(word) for word in line.split())
        if first <= user < first + count:
            return True
    return False


# --- inside: the tests ---------------------------------------------------------------------------------------------------

# What libpq, libcurl, c-ares and libc would take from whoever runs this.
FOREIGN = re.compile(r"(?i)^(.*_proxy|PG.*|CURL_.*|SSL_CERT_.*|RES_OPTIONS|LOCALDOMAIN|HOSTALIASES|CARES_HOSTS)$")


def inside(scratch, options, parser):
    for name in filter(FOREIGN.match, list(os.environ)):
        del os.environ[name]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    start = time.monotonic()
    mount("tmpfs", scratch, "tmpfs", options="mode=755")
    servers = Servers(scratch, bring_up_loopback())
    put_files(scratch)
    try:
        servers.start_all()
        print(f"servers are up after {time.monotonic() - start:.1f} s", flush=True)
        if options.shell is not None:
            return shell(options.shell, servers.environment)
        folder = scratch / "tests"
        folder.mkdir()
        found = columns(options, folder, servers.environment)
        if not found:
            parser.error("nothing to run: name at least one build folder")
        run.run_columns(found, options, [], None, folder)
        for line in servers.check_alive():
            print(line, flush=True)
            found[0].complaints.append(line)
        return run.report(found)
    finally:
        servers.stop()


REFUSED = "Refused"
REFUSING = {"wasmtime-48": "refused@wasmtime-48", "wasmtime-47": "refused@wasmtime-47"}  # jco refuses nothing


def columns(options, folder, environment):
    """Those of tests/run.py, and for components those where the host refuses."""
    def variables(column):
        return environment | {"POISE_RUN": "".join(c if c.isalnum() else "_" for c in column)}

    refused = [test for test in options.tests if test.split(".")[0] == REFUSED]
    tests = [test for test in options.tests if test not in refused]
    found = []
    if tests or not refused:
        found = run.columns(options, folder, PROGRAM, variables, ["--http"])
        for column in found:
            column.options += ["--skip", REFUSED, *tests]
    if options.wasip2 and (refused or not tests):
        for host in options.hosts.split(","):
            name = REFUSING.get(host)
            if name is None or name not in (options.columns or name).split(","):
                continue
            command = [str(TOP / "tools" / "wasi-run"), "--host", host, "--http", "-S", "inherit-network=n", "-S",
                       "allow-ip-name-lookup=n"]
            command += [f"--env={key}={value}" for key, value in (variables(name) | {"POISE_REFUSES": 1}).items()]
            found.append(run.Column(name, command + [run.find(options.wasip2, PROGRAM + ".wasm")],
                                    ["--backend", "wasip2", "--host", host, *(refused or [REFUSED])], 60))
    return found


def shell(command, environment):
    environment = environment | {"POISE_RUN": "shell"}
    wasi = " ".join(f"--env={key}={value}" for key, value in environment.items())
    os.environ.update({key: str(value) for key, value in environment.items()}, POISE_WASI_ENV=wasi)
    return subprocess.call(command or [os.environ.get("SHELL", "/bin/sh")])


def main():
    arguments = sys.argv[1:]
    parser = run.parser_of(__doc__)
    parser.add_argument("--shell", nargs="...", metavar="COMMAND", help="run this beside the servers (else the shell)")
    parser.add_argument("--inside", metavar="FOLDER", help=run.argparse.SUPPRESS)
    parser.add_argument("tests", nargs="*", metavar="TEST", help="only these groups or tests")
    options = parser.parse_args(arguments)
    if options.shell is None and not (options.native or options.wasip2):
        parser.error("nothing to run: name at least one build folder, or --shell")
    options.wasip1 = None
    if options.inside is None:
        return outside(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if most != resource.RLIM_INFINITY else 1 << 20, most))
    return inside(Path(options.inside), options, parser)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

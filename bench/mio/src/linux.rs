//! The workloads of bench/linux/README.md. mio waits for edges.

use crate::figures::Figures;
use crate::settings::Settings;
use crate::{Refusal, Workload};
use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixStream};
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::net::sockopt::set_socket_linger;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Pipe;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What may stand in KEY=VALUE, and whether its value is text.
pub const KEYS: &[(&str, bool)] = &[
    ("n", false),
    ("active", false),
    ("drain", false),
    ("bytes", false),
    ("burst", false),
    ("look", false),
    ("cpus", false),
    ("batch", false),
    ("address", true), // of the client's server: for pingpong alone
];

const MOST_BYTES: usize = 4096;

pub fn prepare(settings: &Settings) -> Result<(Box<dyn Workload>, Figures), Refusal> {
    match (settings.peer, settings.workload) {
        ("client", "pingpong") => return be_client(settings).map_err(Refusal::Failed),
        ("mio", _) => {}
        _ => return Err(Refusal::Wrong(format!("no such peer in this program: {}", settings.peer))),
    }
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).map_err(io::Error::from)?;
    let mut figures = Figures::new(0);
    let (mut workload, warm_up): (Box<dyn Workload>, u64) = match settings.workload {
        "chain" => Chain::open(settings)?,
        "echo" => Echo::open(settings)?,
        "pingpong" => PingPong::open(settings)?,
        "accept" => Accept::open(settings)?,
        "idle" => (Box::new(Pool::open(settings, 100, What::Idle)?), 1000),
        "churn" => (Box::new(Pool::open(settings, 1000, What::Churn)?), 2000),
        "pause" => (Box::new(Pool::open(settings, 1000, What::Pause)?), 2000),
        "oneshot" => return Err(Refusal::Unsupported("mio has no one-shot mode")),
        "wake-pingpong" => (Box::new(WakePingPong::open(settings)?), 1000),
        "wake-take" => (Box::new(Wake::open(true)?), 1000),
        "wake-call" => (Box::new(Wake::open(false)?), 1000),
        name if name.starts_with("timer") => return Err(Refusal::Unsupported("mio has no timers")),
        name => return Err(Refusal::Wrong(format!("no such workload: {name}"))),
    };
    workload.round(warm_up, &mut figures)?;
    Ok((workload, figures))
}

fn failed<T>(what: &str) -> io::Result<T> {
    Err(io::Error::other(what.to_owned()))
}

// ---- a queue, whose calls are counted: each of them is one of the kernel's -----------------------------------------------

struct Queue(Poll);

impl Queue {
    fn new() -> io::Result<Queue> {
        Ok(Queue(Poll::new()?))
    }

    fn wait(&mut self, events: &mut Events, limit: Option<Duration>, figures: &mut Figures) -> io::Result<()> {
        figures.waits += 1;
        self.0.poll(events, limit)
    }

    fn watch(&self, source: &mut impl Source, index: usize, figures: &mut Figures) -> io::Result<()> {
        figures.ctls += 1;
        self.0.registry().register(source, Token(index), Interest::READABLE)
    }

    fn change(&self, source: &mut impl Source, index: usize, to: Interest, figures: &mut Figures) -> io::Result<()> {
        figures.ctls += 1;
        self.0.registry().reregister(source, Token(index), to)
    }

    fn unwatch(&self, source: &mut impl Source, figures: &mut Figures) -> io::Result<()> {
        figures.ctls += 1;
        self.0.registry().deregister(source)
    }
}

fn events(settings: &Settings) -> Events {
    Events::with_capacity(settings.number("batch", 1024))
}

// read(2) and write(2), as all peers have it; Rust's streams use recv and send.

fn read(from: impl AsFd, bytes: &mut [u8], figures: &mut Figures) -> io::Result<usize> {
    figures.reads += 1;
    Ok(rustix::io::read(from, bytes)?)
}

fn write(to: impl AsFd, bytes: &[u8], figures: &mut Figures) -> io::Result<()> {
    figures.writes += 1;
    if rustix::io::write(to, bytes)? == bytes.len() { Ok(()) } else { failed("a short write") }
}

/// Two ends, non-blocking: the one to be watched, and the one that is written to.
fn pairs(n: usize) -> io::Result<(Vec<UnixStream>, Vec<Pipe>)> {
    let pair = |_| -> io::Result<(UnixStream, Pipe)> {
        let (watched, written) = Pipe::pair()?;
        watched.set_nonblocking(true)?;
        written.set_nonblocking(true)?;
        Ok((UnixStream::from_std(watched), written))
    };
    (0..n).map(pair).collect()
}

fn positive(settings: &Settings, key: &str, default: u32) -> Result<usize, Refusal> {
    match settings.number(key, default) {
        0 => Err(Refusal::Wrong(format!("{key} may not be 0"))),
        n => Ok(n),
    }
}

// ---- chain ---------------------------------------------------------------------------------------------------------------

struct Chain {
    queue: Queue,
    events: Events,
    watched: Vec<UnixStream>,
    written: Vec<Pipe>,
    active: usize,
    drain: bool,
}

impl Chain {
    fn open(settings: &Settings) -> Result<(Box<dyn Workload>, u64), Refusal> {
        let n = positive(settings, "n", 100)?;
        let active = positive(settings, "active", 1)?;
        let drain = settings.number("drain", 0) > 0;
        if active > n.min(settings.number("batch", 1024)) || (drain && n > 1 && n < 2 * active) {
            return Err(Refusal::Wrong("chain: active is at most n and batch; with drain=1 n/2, or n is 1".into()));
        }
        let mut unused = Figures::new(0);
        let (mut watched, written) = pairs(n)?;
        let queue = Queue::new()?;
        for (i, end) in watched.iter_mut().enumerate() {
            queue.watch(end, i, &mut unused)?;
        }
        for i in 0..active {
            write(&written[i * (n / active)], b"x", &mut unused)?;
        }
        let chain = Chain { queue, events: events(settings), watched, written, active, drain };
        Ok((Box::new(chain), (n + 4 * active + 1000) as u64))
    }
}

impl Workload for Chain {
    fn round(&mut self, count: u64, figures: &mut Figures) -> io::Result<()> {
        figures.start_clock();
        while figures.ops < count {
            self.queue.wait(&mut self.events, None, figures)?;
            for event in &self.events {
                let Token(i) = event.token();
                let next = if i + 1 < self.written.len() { i + 1 } else { 0 };
                let (from, to) = (&self.watched[i], &self.written[next]);
                figures.ops += if self.drain { pass_all(from, to, figures)? } else { pass_one(from, to, figures)? };
            }
        }
        figures.stop_clock();
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        let mut bytes = [0; MOST_BYTES];
        let left = self.watched.iter_mut().filter_map(|end| end.read(&mut bytes).ok()).sum::<usize>();
        if left == self.active { Ok(()) } else { failed("chain: bytes were lost") }
    }
}

fn pass_one(from: &UnixStream, to: &Pipe, figures: &mut Figures) -> io::Result<u64> {
    let mut byte = [0];
    if read(from, &mut byte, figures)? != 1 {
        return failed("read: the end");
    }
    write(to, &byte, figures)?;
    Ok(1)
}

/// Writes when all is read: a chain of one pair would have no end else.
fn pass_all(from: &UnixStream, to: &Pipe, figures: &mut Figures) -> io::Result<u64> {
    let mut bytes = [0; 64];
    let mut all = 0;
    loop {
        match read(from, &mut bytes[all..], figures) {
            Ok(0) => return failed("read: the end"),
            Ok(n) => all += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    write(to, &bytes[..all], figures)?;
    Ok(all as u64)
}

// ---- echo and ping-pong --------------------------------------------------------------------------------------------------

fn pass_message(stream: &TcpStream, size: usize, figures: &mut Figures) -> io::Result<()> {
    let mut message = [0; MOST_BYTES];
    if read(stream, &mut message, figures)? != size {
        return failed("a message came in parts");
    }
    write(stream, &message[..size], figures)
}

fn watchable(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

fn here() -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn message_size(settings: &Settings) -> Result<usize, Refusal> {
    match settings.number("bytes", 64) {
        bytes @ 1..=MOST_BYTES => Ok(bytes),
        _ => Err(Refusal::Wrong(format!("bytes is 1 to {MOST_BYTES}"))),
    }
}

/// The servers' ends are the even ones.
struct Echo {
    queue: Queue,
    events: Events,
    ends: Vec<TcpStream>,
    bytes: usize,
}

impl Echo {
    fn open(settings: &Settings) -> Result<(Box<dyn Workload>, u64), Refusal> {
        let n = positive(settings, "n", 100)?;
        let bytes = message_size(settings)?;
        let mut unused = Figures::new(0);
        let queue = Queue::new()?;
        let (listener, address) = here()?;
        let mut ends = Vec::new();
        for _ in 0..n {
            let client = std::net::TcpStream::connect(address)?;
            let (server, _) = listener.accept()?;
            ends.extend([watchable(server)?, watchable(client)?]);
        }
        for (i, end) in ends.iter_mut().enumerate() {
            queue.watch(end, i, &mut unused)?;
        }
        for client in ends.iter().skip(1).step_by(2) {
            write(client, &[0; MOST_BYTES][..bytes], &mut unused)?;
        }
        Ok((Box::new(Echo { queue, events: events(settings), ends, bytes }), (4 * n + 1000) as u64))
    }
}

impl Workload for Echo {
    fn round(&mut self, count: u64, figures: &mut Figures) -> io::Result<()> {
        figures.start_clock();
        while figures.ops < count {
            self.queue.wait(&mut self.events, None, figures)?;
            for event in &self.events {
                let Token(i) = event.token();
                pass_message(&self.ends[i], self.bytes, figures)?;
                figures.ops += i as u64 % 2;
            }
        }
        figures.stop_clock();
        Ok(())
    }
}

struct PingPong {
    queue: Queue,
    events: Events,
    ends: Vec<TcpStream>,
    bytes: usize,
    client: Child,
}

impl PingPong {
    fn open(settings: &Settings) -> Result<(Box<dyn Workload>, u64), Refusal> {
        let n = positive(settings, "n", 100)?;
        let bytes = message_size(settings)?;
        if n % STEP == 0 {
            return Err(Refusal::Wrong(format!("pingpong: n is a multiple of {STEP}")));
        }
        let mut unused = Figures::new(0);
        pin(&processors()?[..1])?;
        let (listener, address) = here()?;
        let client = Command::new(std::env::current_exe()?)
            .args(["client", "pingpong", &format!("n={n}"), &format!("bytes={bytes}"), &format!("address={address}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let queue = Queue::new()?;
        let mut ends = Vec::new();
        for i in 0..n {
            let mut end = watchable(listener.accept()?.0)?;
            queue.watch(&mut end, i, &mut unused)?;
            ends.push(end);
        }
        Ok((Box::new(PingPong { queue, events: events(settings), ends, bytes, client }), 1000))
    }
}

impl Workload for PingPong {
    fn round(&mut self, count: u64, figures: &mut Figures) -> io::Result<()> {
        let Some(orders) = &mut self.client.stdin else { return failed("no pipe to the client") };
        let order = format!("{count}\n");
        figures.start_clock();
        orders.write_all(order.as_bytes())?;
        while figures.ops < count {
            self.queue.wait(&mut self.events, None, figures)?;
            for event in &self.events {
                let Token(i) = event.token();
                pass_message(&self.ends[i], self.bytes, figures)?;
                figures.ops += 1;
            }
        }
        figures.stop_clock();
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.client.wait()?.success() { Ok(()) } else { failed("the client failed") } // wait closes its input
    }
}

const STEP: usize = 7919; // a prime: how far apart successive connections are

/// The second process of pingpong, on the same processor. It ends with its input.
fn be_client(settings: &Settings) -> io::Result<(Box<dyn Workload>, Figures)> {
    let (n, bytes) = (settings.number("n", 1), settings.number("bytes", 64));
    let address: SocketAddr = settings.text("address", "").parse().map_err(io::Error::other)?;
    let connect = |_| -> io::Result<std::net::TcpStream> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let mut streams = (0..n).map(connect).collect::<io::Result<Vec<_>>>()?;
    let mut message = [0; MOST_BYTES];
    let mut unused = Figures::new(0);
    let mut at = 0;
    for line in io::stdin().lock().lines() {
        let count: u64 = line?.parse().map_err(io::Error::other)?;
        for _ in 0..count {
            write(&streams[at], &message[..bytes], &mut unused)?;
            streams[at].read_exact(&mut message[..bytes])?;
            at = (at + STEP) % n;
        }
    }
    std::process::exit(0)
}

// ---- accept --------------------------------------------------------------------------------------------------------------

struct Accept {
    queue: Queue,
    events: Events,
    listener: TcpListener,
    address: SocketAddr,
    accepted: Vec<Option<TcpStream>>,
    clients: Vec<std::net::TcpStream>,
    next: usize,
}

impl Accept {
    fn open(settings: &Settings) -> Result<(Box<dyn Workload>, u64), Refusal> {
        let burst = positive(settings, "burst", 16)?;
        let (listener, address) = here()?;
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        let queue = Queue::new()?;
        queue.watch(&mut listener, burst, &mut Figures::new(0))?;
        let accepted = (0..burst).map(|_| None).collect();
        let clients = Vec::with_capacity(burst);
        let events = events(settings);
        Ok((Box::new(Accept { queue, events, listener, address, accepted, clients, next: 0 }), 200))
    }

    /// An edge: until there are no more.
    fn accept_all(&mut self, figures: &mut Figures) -> io::Result<()> {
        loop {
            figures.reads += 1;
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            set_socket_linger(&stream, Some(Duration::ZERO))?;
            self.queue.watch(&mut stream, self.next, figures)?;
            self.accepted[self.next] = Some(stream);
            self.next = (self.next + 1) % self.accepted.len();
        }
    }

    fn serve(&mut self, i: usize, figures: &mut Figures) -> io::Result<()> {
        let Some(mut stream) = self.accepted[i].take() else { return failed("an event of no connection") };
        if read(&stream, &mut [0], figures)? != 1 {
            return failed("read: the end");
        }
        self.queue.unwatch(&mut stream, figures)?;
        figures.ops += 1;
        Ok(())
    }
}

impl Workload for Accept {
    fn round(&mut self, count: u64, figures: &mut Figures) -> io::Result<()> {
        let burst = self.accepted.len();
        let mut ready = Vec::with_capacity(burst + 1);
        figures.start_clock();
        while figures.ops < count {
            for _ in 0..burst {
                let client = std::net::TcpStream::connect(self.address)?;
                write(&client, b"x", figures)?;
                self.clients.push(client);
            }
            let goal = figures.ops + burst as u64;
            while figures.ops < goal {
                self.queue.wait(&mut self.events, None, figures)?;
                ready.extend(self.events.iter().map(|event| event.token().0));
                for i in ready.drain(..) {
                    if i == burst { self.accept_all(figures)? } else { self.serve(i, figures)? }
                }
            }
            self.clients.clear();
        }
        figures.stop_clock();
        Ok(())
    }
}

// ---- idle, churn, pause --------------------------------------------------------------------------------------------------

enum What {
    Idle,
    Churn,
    Pause,
}

struct Pool {
    what: What,
    queue: Queue,
    events: Events,
    watched: Vec<UnixStream>,
    _written: Vec<Pipe>,
    look: bool,
    turn: usize,
}

impl Pool {
    fn open(settings: &Settings, n: u32, what: What) -> Result<Pool, Refusal> {
        let (mut watched, _written) = pairs(positive(settings, "n", n)?)?;
        let queue = Queue::new()?;
        if !matches!(what, What::Churn) {
            for (i, end) in watched.iter_mut().enumerate() {
                queue.watch(end, i, &mut Figures::new(0))?;
            }
        }
        let look = settings.number("look", 0) > 0;
        Ok(Pool { what, queue, events: events(settings), watched, _written, look, turn: 0 })
    }

    fn look(&mut self, figures: &mut Figures) -> io::Result<()> {
        self.queue.wait(&mut self.events, Some(Duration::ZERO), figures)?;
        if self.events.is_empty() { Ok(()) } else { failed("an event of a source that is not ready") }
    }

    fn look_between(&mut self, figures: &mut Figures) -> io::Result<()> {
        if self.look { self.look(figures) } else { Ok(()) }
    }
}

impl Workload for Pool {
    fn round(&mut self, count: u64, figures: &mut Figures) -> io::Result<()> {
        figures.start_clock();
        for _ in 0..count {
            let i = self.turn;
            match self.what {
                What::Idle => self.look(figures)?,
                What::Churn => {
                    self.queue.watch(&mut self.watched[i], i, figures)?;
                    self.look_between(figures)?;
                    self.queue.unwatch(&mut self.watched[i], figures)?;
                }
                What::Pause => {
                    // There is no empty interest; urgent data, which never come, are the nearest to it.
                    self.queue.change(&mut self.watched[i], i, Interest::PRIORITY, figures)?;
                    self.look_between(figures)?;
                    self.queue.change(&mut self.watched[i], i, Interest::READABLE, figures)?;
                }
            }
            self.turn = if i + 1 < self.watched.len() { i + 1 } else { 0 };
        }
        figures.ops = count;
        figures.stop_clock();
        Ok(())
    }
}

// ---- wakes: there is nothing to take in mio, the event is all ------------------------------------------------------------

struct Wake {
    queue: Queue,
    events: Events,
    waker: Arc<Waker>,
    take: bool,
}

impl Wake {
    fn open(take: bool) -> Result<Wake, Refusal> {
        let queue = Queue::new()?;
        let waker = Arc::new(Waker::new(queue.0.registry(), Token(0))?);
        Ok(Wake { queue, events: Events::with_capacity(8), waker, take })
    }

    fn take(&mut self, figures: &mut Figures) -> io::Result<()> {
        self.queue.wait(&mut self.events, None, figures)?;
        if self.events.iter().count() == 1 { Ok(()) } else { failed("a wait without one wake") }
    }
}

impl Workload for Wake {
    fn round(&mut self, count: u64, figures: &mut Figures) -> io::Result<()> {
        if !self.take {
            self.waker.wake()?;
        }
        figures.start_clock();
        for _ in 0..count {
            self.waker.wake()?;
            if self.take {
                self.take(figures)?;
            }
        }
        figures.ops = count;
        figures.stop_clock();
        if self.take { Ok(()) } else { self.take(&mut Figures::new(0)) }
    }
}

struct WakePingPong {
    here: Wake,
    there: Arc<Waker>,
}

impl WakePingPong {
    fn open(settings: &Settings) -> Result<WakePingPong, Refusal> {
        let processors = processors()?;
        let wanted = positive(settings, "cpus", 1)?;
        if wanted > processors.len() {
            return Err(Refusal::Unsupported("there is one processor only"));
        }
        let (here, mut other) = (Wake::open(true)?, Wake::open(true)?);
        let (there, back) = (other.waker.clone(), here.waker.clone());
        pin(&processors[..1])?;
        thread::spawn(move || -> io::Result<()> {
            pin(&processors[wanted - 1..wanted])?;
            let mut unused = Figures::new(0);
            loop {
                other.take(&mut unused)?;
                back.wake()?;
            }
        });
        Ok(WakePingPong { here, there })
    }
}

impl Workload for WakePingPong {
    fn round(&mut self, count: u64, figures: &mut Figures) -> io::Result<()> {
        figures.start_clock();
        for _ in 0..count {
            self.there.wake()?;
            self.here.take(figures)?;
        }
        figures.ops = count;
        figures.stop_clock();
        Ok(())
    }
}

/// Those that the process may use.
fn processors() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect())
}

/// The calling thread, and what it starts.
fn pin(processors: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in processors {
        set.set(*cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}

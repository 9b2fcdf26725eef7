//! The workloads of bench/wasi/README.md. mio waits by libc's poll(2) there.

use crate::figures::Figures;
use crate::settings::Settings;
use crate::{Refusal, Workload, allocations};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What may stand in KEY=VALUE, and whether its value is text.
pub const KEYS: &[(&str, bool)] = &[
    ("n", false),
    ("active", false),
    ("drain", false),
    ("timed", false),
    ("gap_us", false),
    ("latency_us", false),
    ("port", false),
    ("limit_ms", false),
    ("op", true),
    ("address", true),
    ("cold_latency_ns", false), // poise's alone, these two
    ("batch", false),
];

const REST: Duration = Duration::from_millis(50);
const QUIET: Duration = Duration::from_millis(20);
const LOST_NS: u64 = 2_000_000_000;
const WARM_UP_WAITS: u64 = 500;
const WARM_UP: Duration = Duration::from_secs(2);
const MOST_READ: usize = 512;
const TIME_BYTES: usize = 8; // a message: when it was sent
const MESSAGE_BYTES: usize = 24; // one to or from the helper: struct message of bench/wasi/message.h

type Round = fn(&mut Bench, u64, &mut Figures) -> io::Result<()>;

pub fn prepare(settings: &Settings) -> Result<(Box<dyn Workload>, Figures), Refusal> {
    // A round, whether it begins with bytes on their way, its count in the warm-up, and the usual gap.
    let (round, active, warm_up, gap_us): (Round, bool, u64, u32) = match settings.workload {
        "active" => (Bench::active, true, 50, 0),
        "random" => (Bench::random, false, 50, 0),
        "cold" => (Bench::cold, true, 50, 1000),
        "silent" => (Bench::silent, false, 5, 20000),
        "request" if settings.number("port", 0) == 0 => {
            return Err(Refusal::Wrong("request: it needs the helper".into()));
        }
        "request" => (Bench::request, false, 50, 0),
        "idle" => (Bench::idle, false, 50, 0),
        "timers" => return Err(Refusal::Unsupported("mio has no timers")),
        name => return Err(Refusal::Wrong(format!("no such workload: {name}"))),
    };
    if !["mio", "mio-reregister"].contains(&settings.peer) {
        return Err(Refusal::Wrong(format!("no such peer in this program: {}", settings.peer)));
    }
    let n = settings.number("n", 1);
    if !(1..=n).contains(&settings.number("active", 1)) {
        return Err(Refusal::Wrong("active is from 1 to n".into()));
    }
    let mut figures = Figures::new(n);
    let mut bench = Bench::open(settings, round, gap_us, &mut figures)?;
    if active {
        for k in 0..bench.active {
            bench.write_to(bench.active_source(k), b"x", &mut figures)?;
        }
    }
    let begin = Instant::now();
    let mut waits = 0;
    while waits < WARM_UP_WAITS && begin.elapsed() < WARM_UP {
        figures.reset();
        bench.round(warm_up, &mut figures)?;
        waits += figures.waits;
    }
    Ok((Box::new(bench), figures))
}

struct Bench {
    poll: Poll,
    events: Events,
    ready: Vec<usize>,
    watched: Vec<TcpStream>,
    written: Vec<std::net::TcpStream>, // the other ends; with a helper the watched ones are written to
    orders: Option<std::net::TcpStream>, // to the helper
    bytes: Vec<u8>,                    // what was read last
    round: Round,
    n: usize,
    active: usize,
    once: bool, // one read for each event, and registering again
    timed: bool,
    gap_us: u64,
    latency_us: u64,
    time_limit: Duration,
    zero: Instant,
    limit: Instant,
    random: u32,
}

impl Bench {
    fn open(settings: &Settings, round: Round, gap_us: u32, figures: &mut Figures) -> io::Result<Bench> {
        let n = settings.number("n", 1);
        let mut bench = Bench {
            poll: Poll::new()?,
            events: Events::with_capacity(n),
            ready: Vec::with_capacity(n),
            watched: Vec::with_capacity(n),
            written: Vec::with_capacity(n),
            orders: None,
            bytes: Vec::with_capacity(1 << 16),
            round,
            n,
            active: settings.number("active", 1),
            once: settings.peer == "mio-reregister" && settings.number("drain", 0) == 0,
            timed: settings.number("timed", 1) > 0 || ["random", "cold", "request"].contains(&settings.workload),
            gap_us: settings.number("gap_us", gap_us) as u64,
            latency_us: settings.number("latency_us", 200) as u64,
            time_limit: Duration::from_millis(settings.number("limit_ms", 30000) as u64),
            zero: Instant::now(),
            limit: Instant::now(),
            random: 12345,
        };
        match settings.number("port", 0) {
            0 => bench.make_pairs(settings.text("address", "127.0.0.1"))?,
            port => bench.connect_helper(port as u16)?,
        }
        bench.drop_what_came(figures)?;
        Ok(bench)
    }

    // ---- sockets ---------------------------------------------------------------------------------------------------------

    fn watch(&mut self, stream: std::net::TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        self.poll.registry().register(&mut stream, Token(self.watched.len()), Interest::READABLE)?;
        self.watched.push(stream);
        Ok(())
    }

    fn make_pairs(&mut self, address: &str) -> io::Result<()> {
        let listener = TcpListener::bind((address, 0))?;
        let address = listener.local_addr()?;
        for _ in 0..self.n {
            let connected = std::net::TcpStream::connect(address)?;
            let (accepted, _) = listener.accept()?;
            connected.set_nonblocking(true)?;
            self.written.push(connected);
            self.watch(accepted)?;
        }
        Ok(())
    }

    fn connect_helper(&mut self, port: u16) -> io::Result<()> {
        let orders = std::net::TcpStream::connect(("127.0.0.1", port))?;
        orders.set_nonblocking(true)?;
        self.orders = Some(orders);
        for _ in 0..self.n {
            self.watch(std::net::TcpStream::connect(("127.0.0.1", port))?)?;
        }
        Ok(())
    }

    fn write_to(&mut self, source: usize, bytes: &[u8], figures: &mut Figures) -> io::Result<()> {
        if self.written.is_empty() {
            send(&self.watched[source], bytes, figures)
        } else {
            send(&self.written[source], bytes, figures)
        }
    }

    fn order(&mut self, bytes: &[u8], figures: &mut Figures) -> io::Result<()> {
        let orders = self.orders.as_ref().ok_or(ErrorKind::NotConnected)?;
        send(orders, bytes, figures)
    }

    /// Puts what has come behind `bytes`; false when that was nothing.
    fn read_once(&mut self, source: usize, figures: &mut Figures) -> io::Result<bool> {
        let mut bytes = [0; MOST_READ];
        figures.reads += 1;
        match self.watched[source].read(&mut bytes) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.bytes.extend_from_slice(&bytes[..n]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads what has come into `bytes`, so that the next wait names the source again if there is more.
    fn read_of(&mut self, source: usize, figures: &mut Figures) -> io::Result<()> {
        self.bytes.clear();
        if self.once {
            self.read_once(source, figures)?;
            let stream = &mut self.watched[source];
            return self.poll.registry().reregister(stream, Token(source), Interest::READABLE);
        }
        while self.read_once(source, figures)? {}
        Ok(())
    }

    /// On wasmtime 48 an accepted socket is reported readable once, with nothing to read.
    fn drop_what_came(&mut self, figures: &mut Figures) -> io::Result<()> {
        for _ in 0..3 {
            for source in 0..self.n {
                self.read_once(source, figures)?;
            }
            sleep(REST);
        }
        let mut quiet = 0;
        while quiet < 2 {
            self.wait(Some(QUIET), figures)?;
            for i in 0..self.ready.len() {
                self.read_of(self.ready[i], figures)?;
            }
            quiet = if self.ready.is_empty() { quiet + 1 } else { 0 };
        }
        Ok(())
    }

    // ---- waits, times, random numbers ------------------------------------------------------------------------------------

    fn wait(&mut self, limit: Option<Duration>, figures: &mut Figures) -> io::Result<()> {
        figures.waits += 1;
        let before = allocations::calls();
        self.poll.poll(&mut self.events, limit)?;
        figures.allocs += allocations::calls() - before;
        self.ready.clear();
        self.ready.extend(self.events.iter().map(|event| event.token().0));
        Ok(())
    }

    /// Returns the time behind the wait, if times are wanted.
    fn timed_wait(&mut self, figures: &mut Figures) -> io::Result<u64> {
        if !self.timed {
            return self.wait(None, figures).map(|()| 0);
        }
        let before = self.now();
        self.wait(None, figures)?;
        let after = self.now();
        figures.wait_ns += after - before;
        figures.wait_times.add(after - before);
        Ok(after)
    }

    fn now(&self) -> u64 {
        self.zero.elapsed().as_nanos() as u64
    }

    fn begin_round(&mut self, figures: &mut Figures) {
        self.limit = Instant::now() + self.time_limit;
        figures.start_clock();
    }

    /// The time is looked at now and then only: it is a host call.
    fn time_is_up(&self, figures: &Figures) -> bool {
        figures.waits.is_multiple_of(64) && Instant::now() > self.limit
    }

    fn random_number(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }

    fn any_source(&mut self) -> usize {
        self.random_number() as usize % self.n
    }

    fn any_gap(&mut self) -> Duration {
        Duration::from_nanos(self.gap_us * u64::from(500 + self.random_number() % 1000))
    }

    fn active_source(&self, k: usize) -> usize {
        k * (self.n / self.active)
    }

    fn is_active(&self, source: usize) -> bool {
        let stride = self.n / self.active;
        source.is_multiple_of(stride) && source / stride < self.active
    }

    // ---- the workloads ---------------------------------------------------------------------------------------------------

    fn active(&mut self, count: u64, figures: &mut Figures) -> io::Result<()> {
        while figures.ops < count && !self.time_is_up(figures) {
            self.timed_wait(figures)?;
            for i in 0..self.ready.len() {
                let source = self.ready[i];
                self.read_of(source, figures)?;
                if !self.bytes.is_empty() {
                    figures.serve(source);
                    self.write_to(source, b"x", figures)?;
                }
            }
        }
        Ok(())
    }

    fn send_time(&mut self, source: usize, figures: &mut Figures) -> io::Result<()> {
        let now = self.now();
        self.write_to(source, &now.to_le_bytes(), figures)
    }

    /// Of the messages in `bytes`: notes the delays, returns how many there are.
    fn note_times(&self, now: u64, figures: &mut Figures) -> u64 {
        let (messages, _) = self.bytes.as_chunks::<TIME_BYTES>();
        for message in messages {
            // It may have been sent while the same wait's events were handled, behind `now`.
            figures.delays.add(now.saturating_sub(u64::from_le_bytes(*message)));
        }
        messages.len() as u64
    }

    fn random(&mut self, count: u64, figures: &mut Figures) -> io::Result<()> {
        let mut started = 0;
        while started < count.min(self.active as u64) {
            let source = self.any_source();
            self.send_time(source, figures)?;
            started += 1;
        }
        while figures.ops < count && !self.time_is_up(figures) {
            let now = self.timed_wait(figures)?;
            for i in 0..self.ready.len() {
                let source = self.ready[i];
                self.read_of(source, figures)?;
                for _ in 0..self.note_times(now, figures) {
                    figures.serve(source);
                    if started < count {
                        started += 1;
                        let next = self.any_source();
                        self.send_time(next, figures)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn send_cold(&mut self, figures: &mut Figures) -> io::Result<()> {
        loop {
            let source = self.any_source();
            if !self.is_active(source) {
                return self.send_time(source, figures);
            }
        }
    }

    fn cold(&mut self, count: u64, figures: &mut Figures) -> io::Result<()> {
        let mut sent = 0;
        let mut now = self.now();
        let mut last = now;
        let mut next = now + self.gap_us * 1000;
        while figures.seen < count && (sent < count || now - last < LOST_NS) {
            if sent < count && now >= next {
                self.send_cold(figures)?;
                sent += 1;
                last = now;
                next = now + self.any_gap().as_nanos() as u64;
            }
            now = self.timed_wait(figures)?;
            for i in 0..self.ready.len() {
                let source = self.ready[i];
                self.read_of(source, figures)?;
                if self.bytes.len() >= TIME_BYTES {
                    figures.seen += self.note_times(now, figures);
                } else if !self.bytes.is_empty() {
                    figures.serve(source);
                    self.write_to(source, b"x", figures)?;
                }
            }
        }
        figures.lost = sent - figures.seen;
        Ok(())
    }

    fn silent(&mut self, count: u64, figures: &mut Figures) -> io::Result<()> {
        while figures.ops < count && Instant::now() < self.limit {
            let gap = self.any_gap();
            let source = self.any_source();
            if self.orders.is_some() {
                self.order(&message(gap.as_micros() as u32, source, 0), figures)?;
            } else {
                self.silence(gap, figures)?;
                self.send_time(source, figures)?;
            }
            self.await_message(figures)?;
        }
        Ok(())
    }

    /// A wait that names a source comes from its last read: only the next one finds that it took all.
    fn silence(&mut self, gap: Duration, figures: &mut Figures) -> io::Result<()> {
        let begin = Instant::now();
        while let Some(rest) = gap.checked_sub(begin.elapsed()).filter(|rest| !rest.is_zero()) {
            self.wait(Some(rest), figures)?;
            for i in 0..self.ready.len() {
                self.read_of(self.ready[i], figures)?;
            }
        }
        Ok(())
    }

    fn await_message(&mut self, figures: &mut Figures) -> io::Result<()> {
        let wanted = figures.ops + 1;
        while figures.ops < wanted {
            self.wait(None, figures)?;
            let now = if self.orders.is_some() { wall_ns() } else { self.now() };
            for i in 0..self.ready.len() {
                let source = self.ready[i];
                self.read_of(source, figures)?;
                if self.orders.is_none() && self.note_times(now, figures) > 0 {
                    figures.serve(source);
                }
                if let Some(answer) = self.answer() {
                    figures.delays.add(now.saturating_sub(answer.sent));
                    figures.serve(source);
                }
            }
        }
        Ok(())
    }

    fn send_request(&mut self, source: usize, figures: &mut Figures) -> io::Result<()> {
        let request = message(self.latency_us as u32, source, self.now());
        self.write_to(source, &request, figures)
    }

    fn request(&mut self, count: u64, figures: &mut Figures) -> io::Result<()> {
        let mut started = 0;
        while started < count.min(self.active as u64) {
            self.send_request(self.active_source(started as usize), figures)?;
            started += 1;
        }
        while figures.ops < count && !self.time_is_up(figures) {
            let now = self.timed_wait(figures)?;
            for i in 0..self.ready.len() {
                let source = self.ready[i];
                self.read_of(source, figures)?;
                let Some(answer) = self.answer() else { continue };
                figures.delays.add((now - answer.stamp).saturating_sub(self.latency_us * 1000));
                figures.serve(source);
                if started < count {
                    started += 1;
                    self.send_request(source, figures)?;
                }
            }
        }
        Ok(())
    }

    fn idle(&mut self, count: u64, figures: &mut Figures) -> io::Result<()> {
        for _ in 0..count {
            self.wait(Some(Duration::ZERO), figures)?;
            figures.ops += 1;
        }
        Ok(())
    }

    /// What the helper sent back, if that is what was read.
    fn answer(&self) -> Option<Answer> {
        let bytes: &[u8; MESSAGE_BYTES] = self.bytes.as_slice().try_into().ok()?;
        let (numbers, _) = bytes.as_chunks::<8>();
        Some(Answer { stamp: u64::from_le_bytes(numbers[1]), sent: u64::from_le_bytes(numbers[2]) })
    }
}

impl Workload for Bench {
    fn round(&mut self, count: u64, figures: &mut Figures) -> io::Result<()> {
        self.begin_round(figures);
        (self.round)(self, count, figures)?;
        figures.stop_clock();
        Ok(())
    }
}

struct Answer {
    stamp: u64,
    sent: u64,
}

fn message(delay_us: u32, target: usize, stamp: u64) -> [u8; MESSAGE_BYTES] {
    let mut bytes = [0; MESSAGE_BYTES];
    bytes[..4].copy_from_slice(&delay_us.to_le_bytes());
    bytes[4..8].copy_from_slice(&(target as u32).to_le_bytes());
    bytes[8..16].copy_from_slice(&stamp.to_le_bytes());
    bytes
}

/// The helper's clock, too.
fn wall_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// Where there is no room it waits for it.
fn send<S: AsFd>(stream: &S, bytes: &[u8], figures: &mut Figures) -> io::Result<()>
where
    for<'a> &'a S: Write,
{
    let mut to = stream;
    loop {
        match to.write(bytes) {
            Ok(n) if n == bytes.len() => {
                figures.writes += 1;
                return Ok(());
            }
            Ok(_) => return Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                figures.again += 1;
                poll(&mut [PollFd::new(stream, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
}

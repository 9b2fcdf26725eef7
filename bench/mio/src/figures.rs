//! What is counted and measured in a round.

use crate::allocations;
use std::fmt::Write;
use std::time::Instant;

const MOST_SAMPLES: usize = 1 << 20; // more than a round has; what is beyond is not kept

/// Times in ns, with room made beforehand.
pub struct Samples(Vec<u64>);

impl Samples {
    fn new(room: usize) -> Self {
        Samples(Vec::with_capacity(room))
    }

    pub fn add(&mut self, ns: u64) {
        if self.0.len() < self.0.capacity() {
            self.0.push(ns);
        }
    }

    fn write(&mut self, line: &mut String, prefix: &str) {
        let times = &mut self.0;
        let n = times.len();
        if n > 0 {
            times.sort_unstable();
            let (p50, p99, max) = (times[n / 2], times[n * 99 / 100], times[n - 1]);
            let _ = write!(line, " {prefix}p50={p50} {prefix}p99={p99} {prefix}max={max}");
        }
    }
}

/// What this thread had of the processor, in ns.
#[cfg(target_os = "linux")]
fn processor_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(not(target_os = "linux"))]
fn processor_time() -> u64 {
    0
}

pub struct Figures {
    pub ns: u64,
    pub cpu_ns: u64, // Linux: of this thread
    pub ops: u64,
    pub waits: u64,
    pub reads: u64,
    pub writes: u64,
    pub ctls: u64,   // Linux: calls of epoll_ctl
    pub again: u64,  // WASI: writes that found no room
    pub allocs: u64, // Linux: in the round; WASI: while waiting
    pub wait_ns: u64,
    pub seen: u64, // of the cold messages
    pub lost: u64,
    pub delays: Samples,
    pub wait_times: Samples,
    served: Vec<bool>,
    began: Instant,
    processor_then: u64,
    allocs_then: u64,
}

impl Figures {
    /// Samples are taken under WASI only, and sources counted there.
    pub fn new(sources: usize) -> Self {
        let room = if sources > 0 { MOST_SAMPLES } else { 0 };
        Figures {
            ns: 0,
            cpu_ns: 0,
            ops: 0,
            waits: 0,
            reads: 0,
            writes: 0,
            ctls: 0,
            again: 0,
            allocs: 0,
            wait_ns: 0,
            seen: 0,
            lost: 0,
            delays: Samples::new(room),
            wait_times: Samples::new(room),
            served: vec![false; sources],
            began: Instant::now(),
            processor_then: 0,
            allocs_then: 0,
        }
    }

    pub fn reset(&mut self) {
        (self.ns, self.ops, self.waits, self.reads, self.writes) = (0, 0, 0, 0, 0);
        (self.ctls, self.again, self.allocs, self.wait_ns) = (0, 0, 0, 0);
        (self.seen, self.lost, self.cpu_ns) = (0, 0, 0);
        self.delays.0.clear();
        self.wait_times.0.clear();
        self.served.fill(false);
    }

    pub fn start_clock(&mut self) {
        self.allocs_then = allocations::calls();
        self.processor_then = processor_time();
        self.began = Instant::now();
    }

    pub fn stop_clock(&mut self) {
        self.ns += self.began.elapsed().as_nanos() as u64;
        self.cpu_ns += processor_time() - self.processor_then;
        if cfg!(target_os = "linux") {
            self.allocs += allocations::calls() - self.allocs_then;
        }
    }

    /// An operation was done for this source.
    pub fn serve(&mut self, source: usize) {
        self.ops += 1;
        self.served[source] = true;
    }

    pub fn line(&mut self) -> String {
        let Figures { ns, cpu_ns, ops, waits, reads, writes, ctls, again, allocs, wait_ns, seen, lost, .. } = *self;
        let mut line = format!("ns={ns} ops={ops} waits={waits} reads={reads} writes={writes} allocs={allocs}");
        if cfg!(target_os = "linux") {
            let _ = write!(line, " cpu_ns={cpu_ns} ctls={ctls}");
        } else {
            let served = self.served.iter().filter(|served| **served).count();
            let _ = write!(line, " again={again} served={served}");
        }
        if seen + lost > 0 {
            let _ = write!(line, " seen={seen} lost={lost}");
        }
        if wait_ns > 0 {
            let _ = write!(line, " wait_ns={wait_ns}");
        }
        self.wait_times.write(&mut line, "wait_");
        self.delays.write(&mut line, "");
        line
    }
}

// SPDX-License-Identifier: MIT
//! mio as a peer of the benchmark suite: `mio PEER WORKLOAD [KEY=VALUE...]`. What a workload does to the last read is in
//! bench/linux/README.md and bench/wasi/README.md; the protocol is that of all peers.
//!
//! PEER `mio` is mio as its documentation wants it used: under WASI it names a source again only after a read has met
//! `WouldBlock`, so each event costs a second read, whatever `drain` says. (On Linux an edge is enough, see chain in the
//! README.) PEER `mio-reregister`, WASI only, reads once as the other peers do, and registers again instead.

mod allocations;
mod figures;
mod settings;

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(target_os = "wasi", path = "wasi.rs")]
mod workloads;

use figures::Figures;
use settings::Settings;
use std::io::{self, BufRead, Write};
use std::process::exit;

/// A workload that is set up.
pub trait Workload {
    fn round(&mut self, count: u64, figures: &mut Figures) -> io::Result<()>;

    /// After the last round: whether all is as it has to be.
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why there is no workload.
pub enum Refusal {
    Unsupported(&'static str),
    Wrong(String),
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal::Failed(error)
    }
}

pub fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

fn serve() -> Result<(), Refusal> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let settings = Settings::new(&arguments).map_err(Refusal::Wrong)?;
    let (mut workload, mut figures) = workloads::prepare(&settings)?;
    if allocations::calls() == 0 {
        return Err(io::Error::other("allocations are not counted: the program is not linked as build.rs says").into());
    }
    say("ready")?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let count = line.strip_prefix("round ").and_then(|count| count.parse().ok());
        let Some(count) = count.filter(|count| *count > 0) else {
            return Err(Refusal::Wrong(format!("not a round: {line}")));
        };
        figures.reset();
        workload.round(count, &mut figures)?;
        say(&figures.line())?;
    }
    Ok(workload.end()?)
}

fn main() {
    let status = match serve() {
        Ok(()) => 0,
        Err(Refusal::Unsupported(reason)) => i32::from(say(&format!("unsupported {reason}")).is_err()),
        Err(Refusal::Wrong(what)) => {
            eprintln!("mio: {what}");
            2
        }
        Err(Refusal::Failed(error)) => {
            eprintln!("mio: {error}");
            1
        }
    };
    exit(status); // not one close after the other: the system closes all
}

//! `PEER WORKLOAD [KEY=VALUE...]`.

use crate::workloads::KEYS;

pub struct Settings<'a> {
    pub peer: &'a str,
    pub workload: &'a str,
    values: Vec<(&'a str, &'a str)>,
}

impl<'a> Settings<'a> {
    pub fn new(arguments: &'a [String]) -> Result<Self, String> {
        let [peer, workload, rest @ ..] = arguments else {
            return Err("usage: mio PEER WORKLOAD [KEY=VALUE...]".into());
        };
        let mut values = Vec::new();
        for argument in rest {
            let (key, value) = argument.split_once('=').ok_or(format!("no KEY=VALUE: {argument}"))?;
            let (_, text) = KEYS.iter().find(|(name, _)| *name == key).ok_or(format!("no such key: {key}"))?;
            if !text && value.parse::<u32>().is_err() {
                return Err(format!("no number: {argument}"));
            }
            values.push((key, value));
        }
        Ok(Settings { peer, workload, values })
    }

    pub fn text(&self, key: &str, default: &'a str) -> &'a str {
        let found = self.values.iter().rev().find(|(name, _)| *name == key);
        found.map_or(default, |(_, value)| value)
    }

    pub fn number(&self, key: &str, default: u32) -> usize {
        self.text(key, "").parse().unwrap_or(default) as usize
    }
}

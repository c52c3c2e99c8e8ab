//! Assigns instructions to parts by the source file of each line, so inlined code counts right.
//!
//! Code that all parts use (the standard library, the allocator, copying, JSON, hashes) counts as
//! its callers', in proportion to the cost of their calls.

use std::collections::{BTreeMap, HashMap};

use super::profile::Profile;

/// A part of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Inkwire's, with what only it calls: tokens, ids, JSON.
    Own,
    /// The store's SDK: signing, serializing, retries.
    Sdk,
    /// The client library of Redis.
    Redis,
    /// HTTP, and tokio: tasks, timers and sockets.
    Http,
    /// Lambda's runtime, and its event format.
    Lambda,
    /// TLS.
    Tls,
    /// The ports in memory.
    Ports,
    /// This load tool.
    Load,
    /// The rest, such as the linker and the start of threads.
    Rest,
}

impl Part {
    pub(crate) const ALL: [Self; 9] = [
        Self::Own,
        Self::Sdk,
        Self::Redis,
        Self::Http,
        Self::Lambda,
        Self::Tls,
        Self::Ports,
        Self::Load,
        Self::Rest,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Sdk => "sdk",
            Self::Redis => "redis",
            Self::Http => "http",
            Self::Lambda => "lambda",
            Self::Tls => "tls",
            Self::Ports => "ports",
            Self::Load => "load",
            Self::Rest => "rest",
        }
    }
}

/// Instructions by part.
pub(crate) type Shares = BTreeMap<Part, f64>;

/// Assigns a run's instructions to parts.
#[must_use]
pub(crate) fn shares(profile: &Profile) -> Shares {
    let attributed = Attributed::of(profile);
    let mut shares = Shares::new();
    for ((function, file), cost) in &profile.costs {
        let cost = *cost as f64;
        match attributed.part(*file).or_else(|| attributed.home(*function)) {
            Some(part) => *shares.entry(part).or_default() += cost,
            None => {
                for (part, share) in attributed.callers(*function) {
                    *shares.entry(part).or_default() += cost * share;
                }
            }
        }
    }
    shares
}

/// For each function that all parts use, how its cost is split among its callers.
struct Attributed {
    parts: Vec<Option<Part>>,
    homes: HashMap<usize, Option<Part>>,
    callers: Vec<Row>,
}

type Row = [f64; Part::ALL.len()];

impl Attributed {
    fn of(profile: &Profile) -> Self {
        let files = 0..profile.files.count();
        let parts: Vec<_> = files.map(|file| part_of(profile.files.name(file))).collect();
        let part = |file: usize| parts.get(file).copied().flatten();
        let homes = profile.homes.iter().map(|(function, file)| (*function, part(*file))).collect();
        let count = profile.functions.count();
        let mut attributed = Self { parts, homes, callers: vec![Row::default(); count] };
        for _ in 0..ROUNDS {
            attributed.callers = attributed.passed_on(profile, count);
        }
        attributed
    }

    /// One step up: charges each function to its callers, by the shares of the step before.
    fn passed_on(&self, profile: &Profile, count: usize) -> Vec<Row> {
        let mut rows = vec![Row::default(); count];
        for (edge, cost) in &profile.calls {
            let Some(row) = rows.get_mut(edge.callee).filter(|_| edge.callee != edge.caller) else {
                continue;
            };
            let cost = *cost as f64;
            match self.part(edge.site).or_else(|| self.home(edge.caller)) {
                Some(part) => add(row, part, cost),
                None => {
                    for (part, share) in self.callers(edge.caller) {
                        add(row, part, cost * share);
                    }
                }
            }
        }
        for row in &mut rows {
            let sum: f64 = row.iter().sum();
            if sum > 0.0 {
                row.iter_mut().for_each(|cost| *cost /= sum);
            }
        }
        rows
    }

    fn part(&self, file: usize) -> Option<Part> {
        self.parts.get(file).copied().flatten()
    }

    fn home(&self, function: usize) -> Option<Part> {
        self.homes.get(&function).copied().flatten()
    }

    /// The parts that a function's calls belong to; [`Part::Rest`] if none is known.
    fn callers(&self, function: usize) -> Vec<(Part, f64)> {
        let row = self.callers.get(function).copied().unwrap_or_default();
        let known: Vec<_> =
            Part::ALL.into_iter().zip(row).filter(|(_, share)| *share > 0.0).collect();
        if known.is_empty() { vec![(Part::Rest, 1.0)] } else { known }
    }
}

fn add(row: &mut Row, part: Part, cost: f64) {
    for (of, sum) in Part::ALL.into_iter().zip(row) {
        if of == part {
            *sum += cost;
        }
    }
}

/// The part of a file. `None` for code that all parts use.
fn part_of(file: &str) -> Option<Part> {
    if let Some((_, rest)) = file.split_once("/registry/src/") {
        let package = rest.split('/').nth(1)?;
        return part_of_package(package);
    }
    let is = |folder: &str| file.contains(folder);
    match () {
        () if is("/rustc/") || is("/library/") => None,
        () if is("shared/memory/") => Some(Part::Ports),
        () if is("tests/load/") => Some(Part::Load),
        () if is("shared/") || is("functions/") || is("wss-fleet/") => Some(Part::Own),
        () => None,
    }
}

/// The part of a package, by the start of its name.
fn part_of_package(package: &str) -> Option<Part> {
    const STARTS: &[(&str, Part)] = &[
        ("aws_lambda", Part::Lambda),
        ("lambda", Part::Lambda),
        ("aws-", Part::Sdk),
        ("redis-", Part::Redis),
        ("hyper", Part::Http),
        ("http", Part::Http),
        ("h2-", Part::Http),
        ("tower", Part::Http),
        ("tokio", Part::Http),
        ("mio-", Part::Http),
        ("want-", Part::Http),
        ("rustls", Part::Tls),
    ];
    STARTS.iter().find(|(start, _)| package.starts_with(start)).map(|(_, part)| *part)
}

/// How many steps up a chain of shared functions to follow.
const ROUNDS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_code_is_attributed_to_its_callers_by_the_cost_of_their_calls() {
        let profile = Profile::read(
            "fl=(1) shared/model/src/a.rs\nfn=(1) ours\n1 10\ncfn=(2) alloc\ncalls=1 1\n1 30\n\
             fl=(2) /x/registry/src/index/aws-sdk-1.0/src/b.rs\nfn=(3) theirs\n1 10\n\
             cfn=(2)\ncalls=1 1\n1 90\n\
             fl=(3) /rustc/library/alloc.rs\nfn=(2)\n1 40\ncfn=(4) malloc\ncalls=2 1\n1 80\n\
             fl=(4) malloc.c\nfn=(4)\n1 80\n",
        );
        let shares = shares(&profile.unwrap());
        // The allocations cost 120, of which a quarter is ours.
        assert!((shares[&Part::Own] - 40.0).abs() < 1e-6, "{shares:?}");
        assert!((shares[&Part::Sdk] - 100.0).abs() < 1e-6, "{shares:?}");
    }

    #[test]
    fn packages_are_distinguished_by_their_folder() {
        let of = |package: &str| part_of(&format!("/c/registry/src/index-1/{package}/src/lib.rs"));
        assert_eq!(of("aws_lambda_events-1.0.0"), Some(Part::Lambda));
        assert_eq!(of("aws-sigv4-1.3.0"), Some(Part::Sdk));
        assert_eq!(of("serde_json-1.0.0"), None);
        assert_eq!(part_of("shared/memory/src/store.rs"), Some(Part::Ports));
        assert_eq!(part_of("/w/shared/messaging/src/send.rs"), Some(Part::Own));
    }
}

//! Reads callgrind's output: instructions by function and file, and the calls between functions.
//!
//! Source: "Callgrind Format Specification" in valgrind's manual.

use std::collections::HashMap;

use super::Outcome;

/// Numbers for names, in the order of their first use.
#[derive(Debug, Default)]
pub(crate) struct Names {
    numbers: HashMap<String, usize>,
    names: Vec<String>,
}

impl Names {
    fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }

    /// The name with this number.
    #[must_use]
    pub(crate) fn name(&self, number: usize) -> &str {
        self.names.get(number).map_or("", String::as_str)
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.names.len()
    }
}

/// One function's calls of another, from lines of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Edge {
    pub(crate) caller: usize,
    /// The file of the calling line. With inlined code, this is not the caller's file.
    pub(crate) site: usize,
    pub(crate) callee: usize,
}

/// The profile of one run.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    pub(crate) functions: Names,
    pub(crate) files: Names,
    /// The file that defines a function, by the function's number.
    pub(crate) homes: HashMap<usize, usize>,
    /// A function's own instructions, by function and file.
    pub(crate) costs: HashMap<(usize, usize), u64>,
    /// Instructions that each edge's calls took in the callee.
    pub(crate) calls: HashMap<Edge, u64>,
}

/// The reader's position.
#[derive(Debug, Default)]
struct Place {
    function: usize,
    file: usize,
    callee: usize,
    is_call: bool,
}

/// The file's own numbers, which replace names after their first use.
#[derive(Debug, Default)]
struct Abbreviations {
    functions: HashMap<String, usize>,
    files: HashMap<String, usize>,
}

impl Profile {
    /// Reads a file's text.
    ///
    /// # Errors
    /// If a line does not fit the format, or nothing was counted.
    pub(crate) fn read(text: &str) -> Outcome<Self> {
        let (mut profile, mut short, mut at) =
            (Self::default(), Abbreviations::default(), Place::default());
        for line in text.lines() {
            match line.split_once('=') {
                Some((key, value)) if !line.starts_with(COST_STARTS) => {
                    profile.key(&mut short, &mut at, key, value);
                }
                _ if line.starts_with(COST_STARTS) => profile.cost(&mut at, line)?,
                Some(_) | None => {}
            }
        }
        if profile.costs.is_empty() { Err("callgrind counted nothing".into()) } else { Ok(profile) }
    }

    fn key(&mut self, short: &mut Abbreviations, at: &mut Place, key: &str, value: &str) {
        match key {
            "fl" | "fi" | "fe" => at.file = short.file(&mut self.files, value),
            "cfi" | "cfl" => {
                short.file(&mut self.files, value);
            }
            "fn" => {
                at.function = short.function(&mut self.functions, value);
                self.homes.entry(at.function).or_insert(at.file);
            }
            "cfn" => at.callee = short.function(&mut self.functions, value),
            "calls" => at.is_call = true,
            _ => {}
        }
    }

    fn cost(&mut self, at: &mut Place, line: &str) -> Outcome<()> {
        let count = line.split(' ').nth(1).and_then(|count| count.parse::<u64>().ok());
        let count = count.ok_or_else(|| format!("not a line of callgrind's: {line}"))?;
        if std::mem::take(&mut at.is_call) {
            let edge = Edge { caller: at.function, site: at.file, callee: at.callee };
            *self.calls.entry(edge).or_default() += count;
        } else {
            *self.costs.entry((at.function, at.file)).or_default() += count;
        }
        Ok(())
    }

    /// All instructions.
    #[must_use]
    pub(crate) fn whole(&self) -> u64 {
        self.costs.values().sum()
    }

    /// Instructions of all functions whose name contains `part`, with what they called. A call from
    /// one of them to another counts once.
    #[must_use]
    pub(crate) fn inclusive(&self, part: &str) -> u64 {
        let is_meant = |function: usize| self.functions.name(function).contains(part);
        let own = self.costs.iter().filter(|((function, _), _)| is_meant(*function));
        let called =
            self.calls.iter().filter(|(edge, _)| is_meant(edge.caller) && !is_meant(edge.callee));
        own.map(|(_, cost)| cost).sum::<u64>() + called.map(|(_, cost)| cost).sum::<u64>()
    }
}

impl Abbreviations {
    fn file(&mut self, names: &mut Names, value: &str) -> usize {
        full(&mut self.files, names, value)
    }

    /// `'2` and so on mark a recursive call. Here it is the same function.
    fn function(&mut self, names: &mut Names, value: &str) -> usize {
        let bare = match value.rsplit_once('\'') {
            Some((name, depth)) if depth.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) | None => value,
        };
        full(&mut self.functions, names, bare)
    }
}

/// The number of `(1) name`, or of `(1)` alone.
fn full(short: &mut HashMap<String, usize>, names: &mut Names, value: &str) -> usize {
    let (id, name) = match value.split_once(' ') {
        Some((id, name)) => (id, Some(name)),
        None if value.starts_with('(') => (value, None),
        None => (value, Some(value)),
    };
    match (name, short.get(id)) {
        (None, Some(number)) => *number,
        (name, _) => {
            let number = names.number(name.unwrap_or(id));
            short.insert(id.to_owned(), number);
            number
        }
    }
}

/// A line of counts starts with a line number, or with its distance from the last one.
const COST_STARTS: [char; 13] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '+', '-', '*'];

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# callgrind format\nversion: 1\nevents: Ir\nob=(1) /program\n\
        fl=(1) a.rs\nfn=(1) main\n10 5\nfi=(2) core.rs\n+1 7\ncfi=(3) b.rs\ncfn=(2) work\n\
        calls=3 20\n* 60\nfl=(3)\nfn=(2)\n20 40\ncfn=(4) work'2\ncalls=1 20\n+1 20\nfn=(4)\n20 20\n";

    #[test]
    fn counts_belong_to_the_file_of_their_line() {
        let profile = Profile::read(TEXT).unwrap();
        let cost = |function: &str, file: &str| {
            let costs = profile.costs.iter();
            let found = costs.filter(|((number, of), _)| {
                profile.functions.name(*number) == function && profile.files.name(*of) == file
            });
            found.map(|(_, cost)| *cost).sum::<u64>()
        };
        assert_eq!((cost("main", "a.rs"), cost("main", "core.rs")), (5, 7));
        assert_eq!((cost("work", "b.rs"), profile.whole()), (60, 72));
    }

    #[test]
    fn a_function_is_counted_with_its_callees_and_recursion_once() {
        let profile = Profile::read(TEXT).unwrap();
        assert_eq!((profile.inclusive("main"), profile.inclusive("work")), (72, 60));
        assert!(Profile::read("events: Ir\n").is_err());
        assert!(Profile::read("fn=(1) a\n12 x\n").is_err());
    }
}

//! Accepted counts, in a committed file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Outcome;

/// Figures of an operation, by their names.
pub(crate) type Figures = BTreeMap<String, u64>;

/// The contents of the file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// The compiler and processor that it was counted with. Others give other counts.
    pub(crate) about: String,
    /// Figures by operation.
    pub(crate) operations: BTreeMap<String, Figures>,
}

/// A figure, compared with the accepted one.
#[derive(Debug, PartialEq)]
pub(crate) struct Compared {
    pub(crate) operation: String,
    pub(crate) figure: String,
    pub(crate) accepted: Option<u64>,
    pub(crate) counted: Option<u64>,
    pub(crate) verdict: Comparison,
}

/// The result of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// Within the tolerance.
    Same,
    /// Below the tolerance: worth accepting.
    Better,
    /// Above the tolerance.
    Worse,
    /// Only counted, or only accepted.
    Unknown,
}

impl Baseline {
    /// Reads the file. If there is none, nothing was accepted.
    ///
    /// # Errors
    /// If the file has another format.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Outcome<()> {
        Ok(std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// Compares what was counted, figure by figure, with a tolerance in percent.
    #[must_use]
    pub(crate) fn compare(&self, counted: &Self, percent: f64) -> Vec<Compared> {
        let names = |of: &Self| {
            let each = of.operations.iter().flat_map(|(operation, figures)| {
                figures.keys().map(|figure| (operation.clone(), figure.clone())).collect::<Vec<_>>()
            });
            each.collect::<Vec<_>>()
        };
        let mut all = [names(self), names(counted)].concat();
        all.sort();
        all.dedup();
        let value = |of: &Self, (operation, figure): &(String, String)| {
            of.operations.get(operation).and_then(|figures| figures.get(figure)).copied()
        };
        let compared = all.into_iter().map(|name| {
            let (accepted, now) = (value(self, &name), value(counted, &name));
            let verdict = verdict(accepted, now, percent);
            Compared { operation: name.0, figure: name.1, accepted, counted: now, verdict }
        });
        compared.collect()
    }
}

fn verdict(accepted: Option<u64>, counted: Option<u64>, percent: f64) -> Comparison {
    let (Some(accepted), Some(counted)) = (accepted, counted) else { return Comparison::Unknown };
    let change = (counted as f64 / accepted.max(1) as f64 - 1.0) * 100.0;
    match change {
        change if change > percent => Comparison::Worse,
        change if change < -percent => Comparison::Better,
        _ => Comparison::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(figures: &[(&str, u64)]) -> Baseline {
        let figures = figures.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let operations = BTreeMap::from([("send".to_owned(), figures)]);
        Baseline { about: String::new(), operations }
    }

    #[test]
    fn only_more_than_the_tolerance_is_worse() {
        let accepted = of(&[("a", 1_000), ("b", 1_000), ("c", 1_000), ("gone", 1)]);
        let counted = of(&[("a", 1_029), ("b", 1_031), ("c", 960), ("new", 1)]);
        let verdicts: Vec<_> = accepted
            .compare(&counted, 3.0)
            .into_iter()
            .map(|compared| (compared.figure, compared.verdict))
            .collect();
        let named = |name: &str| name.to_owned();
        assert_eq!(
            verdicts,
            [
                (named("a"), Comparison::Same),
                (named("b"), Comparison::Worse),
                (named("c"), Comparison::Better),
                (named("gone"), Comparison::Unknown),
                (named("new"), Comparison::Unknown),
            ]
        );
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counts.json");
        assert_eq!(Baseline::read(&path).unwrap(), Baseline::default());
        of(&[("a", 1)]).write(&path).unwrap();
        assert_eq!(Baseline::read(&path).unwrap(), of(&[("a", 1)]));
    }
}

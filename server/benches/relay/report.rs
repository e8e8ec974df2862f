//! Tables for a person, JSON for a program.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::Outcome;

/// Figures of one thing in several repetitions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series(pub(crate) Vec<f64>);

impl Series {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The value that `share` of the others lie below.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }

    fn json(&self) -> Value {
        json!({ "median": self.median(), "min": self.at(0.0), "max": self.at(1.0), "n": self.0.len() })
    }
}

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

struct Figure {
    section: String,
    name: String,
    unit: String,
    series: Series,
}

impl Report {
    pub(crate) fn title(&mut self, title: &str) -> Outcome {
        Ok(writeln!(io::stdout(), "\n{title}")?)
    }

    /// One line: a name, and the figures of each repetition with their unit.
    pub(crate) fn series(
        &mut self,
        section: &str,
        name: &str,
        unit: &str,
        series: &Series,
    ) -> Outcome {
        let (low, middle, high) = (series.at(0.0), series.median(), series.at(1.0));
        writeln!(
            io::stdout(),
            "  {name:<44} {:>12} {unit:<10} ({} to {})",
            short(middle),
            short(low),
            short(high)
        )?;
        self.figures.push(Figure {
            section: section.to_owned(),
            name: name.to_owned(),
            unit: unit.to_owned(),
            series: series.clone(),
        });
        Ok(())
    }

    /// The same for what is measured once.
    pub(crate) fn value(&mut self, section: &str, name: &str, unit: &str, value: f64) -> Outcome {
        self.series(section, name, unit, &Series(vec![value]))
    }

    /// A word instead of a figure.
    pub(crate) fn remark(&self, text: &str) -> Outcome {
        Ok(writeln!(io::stdout(), "  {text}")?)
    }

    /// Figure that was measured under this name, and its unit.
    pub(crate) fn figure(&self, section: &str, name: &str) -> Option<(&Series, &str)> {
        let found = self.figures.iter().find(|at| at.section == section && at.name == name)?;
        Some((&found.series, &found.unit))
    }

    /// Writes everything below the build's folder and says where.
    pub(crate) fn save(&self) -> Outcome {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("relay-bench.json");
        let machine = json!({
            "cpu": cpu_model()?,
            "cpus": std::thread::available_parallelism()?.get(),
            "kernel": fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        });
        let mut sections = Map::new();
        for Figure { section, name, unit, series } in &self.figures {
            let mut value = series.json();
            value["unit"] = json!(unit);
            let section = sections.entry(section).or_insert_with(|| json!({}));
            section[name] = value;
        }
        let all = json!({ "machine": machine, "figures": sections });
        fs::write(&path, serde_json::to_string_pretty(&all)?)?;
        Ok(writeln!(io::stdout(), "\nall figures: {}", path.display())?)
    }
}

fn cpu_model() -> io::Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let line = info.lines().find(|line| line.starts_with("model name"));
    Ok(line.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown").to_owned())
}

/// Four digits that count.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}"),
        10.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

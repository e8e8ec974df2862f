//! Builds the relay's template from the arguments and reports its contents.

use claude_relay_e2b::binary;
use claude_relay_e2b::checkout::Checkout;
use claude_relay_e2b::relay::{RelayTemplate, SOURCE_PREFIX, ServerFrom};

use super::Failure;
use super::args::Contents;
use super::report::Report;

/// Number of names of a list that are printed.
const NAMES_SAID: usize = 10;

/// Reads and checks the contents.
pub(crate) async fn relay_template(
    contents: &Contents,
    report: &mut Report,
) -> Result<RelayTemplate, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
    let server = match &contents.binary {
        Some(path) => {
            let said = binary::check(path).await.map_err(|error| usage(&error))?;
            let said = said.as_deref().unwrap_or("not run here: this is no x86_64 Linux");
            report.line(&format!("server: {} ({said})", path.display()))?;
            ServerFrom::Binary(path.clone())
        }
        None => {
            let checkout = Checkout::read(&contents.checkout, SOURCE_PREFIX, "server/Cargo.toml")
                .map_err(|error| usage(&error))?;
            say_sources(&checkout, report)?;
            ServerFrom::Sources(checkout.files)
        }
    };
    Ok(RelayTemplate {
        server,
        cli_version: contents.cli_version.clone(),
        image: contents.image.clone(),
        packages: contents.packages.clone(),
    })
}

fn say_sources(checkout: &Checkout, report: &mut Report) -> Result<(), Failure> {
    let commit = checkout.commit.as_deref().unwrap_or("no commit yet");
    let (count, root) = (checkout.count, checkout.root.display());
    report
        .line(&format!("server: compiled from {root}, {count} files that git tracks ({commit})"))?;
    for (names, what) in [
        (&checkout.dirty, "differ from the commit and are included as they are"),
        (&checkout.missing, "are tracked but not on disk and are left out"),
        (&checkout.untracked, "are not tracked by git and are left out"),
    ] {
        if !names.is_empty() {
            let mut said = names.iter().take(NAMES_SAID).cloned().collect::<Vec<_>>().join(", ");
            if names.len() > NAMES_SAID {
                said.push_str(", …");
            }
            report.line(&format!("note: {} files {what}: {said}", names.len()))?;
        }
    }
    Ok(())
}

//! Command line arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use claude_relay_e2b::relay::{CLI_VERSION, CliVersion, DEFAULT_NAME, Package};
use claude_relay_e2b::settings::VariablesHelp;
use claude_relay_e2b::template_name::{Tag, TemplateName};

/// E2B for claude-relay.
#[derive(Debug, Parser)]
#[command(name = "claude-relay-e2b", version, about = "Builds the E2B template of claude-relay", after_help = VariablesHelp.to_string())]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build the template in E2B's cloud, or print what would be built
    Build(Box<Build>),
    /// Run the template's steps, start command and ready check in a Debian of this machine, without a cloud
    Rehearse(Box<Rehearse>),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a man page
    Man {
        /// The command that it is about; none is the program itself
        command: Option<String>,
    },
}

/// Contents of the template.
#[derive(Debug, Args)]
pub(crate) struct Contents {
    /// Put in this built server instead of compiling one in the template
    #[arg(long, value_name = "FILE")]
    pub(crate) binary: Option<PathBuf>,
    /// Compile the sources that git tracks in this checkout; changed files are
    /// included as they are
    #[arg(long, value_name = "DIR", default_value = ".", conflicts_with = "binary")]
    pub(crate) checkout: PathBuf,
    /// The version of the Claude Code CLI
    #[arg(long, value_name = "VERSION", default_value = CLI_VERSION)]
    pub(crate) cli_version: CliVersion,
    /// A further Debian package; may be given several times
    #[arg(long = "apt", value_name = "PACKAGE")]
    pub(crate) packages: Vec<Package>,
    /// Another base image; to compile the server it must contain Rust at the
    /// same paths as the official Rust images
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The template's name, [team/]name[:tag]
    #[arg(long, default_value = DEFAULT_NAME)]
    pub(crate) name: TemplateName,
    /// A further tag for this build; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<Tag>,
    /// Processors of a sandbox: 1 or an even number up to 32
    #[arg(long, default_value = "2", value_parser = cpus)]
    pub(crate) cpus: u32,
    /// Memory of a sandbox in MiB: an even number, at least 128
    #[arg(long, value_name = "MIB", default_value = "2048", value_parser = memory)]
    pub(crate) memory_mb: u32,
    #[command(flatten)]
    pub(crate) contents: Contents,
    /// Do not use the build cache
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Time limit for the wait for the build
    #[arg(long, value_name = "DURATION", default_value = "75m", value_parser = claude_relay_protocol::duration::parse)]
    pub(crate) timeout: Duration,
    /// Show the debug lines of the log too
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Print the definition as JSON and send nothing
    #[arg(long, conflicts_with = "print_dockerfile")]
    pub(crate) dry_run: bool,
    /// Print an equivalent Dockerfile and send nothing
    #[arg(long)]
    pub(crate) print_dockerfile: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rehearse {
    #[command(flatten)]
    pub(crate) contents: Contents,
    /// The directory of the Debian: several gigabytes, used again by the next
    /// rehearsal
    #[arg(long, value_name = "DIR", default_value = "target/rehearsal")]
    pub(crate) directory: PathBuf,
    /// The Debian mirror; by default the one that this machine's apt uses
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// A program to run inside once the server is ready; its address is in RELAY_URL
    #[arg(long, value_name = "FILE")]
    pub(crate) turn: Option<PathBuf>,
    /// Keep the root at the end, to inspect it
    #[arg(long)]
    pub(crate) keep: bool,
}

fn cpus(text: &str) -> Result<u32, String> {
    let cpus: u32 = text.parse().map_err(|_| "not a number".to_owned())?;
    let fits = cpus == 1 || (cpus.is_multiple_of(2) && (2..=32).contains(&cpus));
    fits.then_some(cpus).ok_or_else(|| "E2B takes 1 or an even number up to 32".to_owned())
}

fn memory(text: &str) -> Result<u32, String> {
    let memory: u32 = text.parse().map_err(|_| "not a number".to_owned())?;
    let fits = memory >= 128 && memory.is_multiple_of(2);
    fits.then_some(memory).ok_or_else(|| "E2B takes an even number of MiB, at least 128".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_are_what_e2b_takes() {
        assert!(["1", "2", "32"].iter().all(|text| cpus(text).is_ok()));
        assert!(["0", "3", "34", "x", "-1"].iter().all(|text| cpus(text).is_err()));
        assert!(["128", "2048"].iter().all(|text| memory(text).is_ok()));
        assert!(["0", "127", "129"].iter().all(|text| memory(text).is_err()));
    }
}

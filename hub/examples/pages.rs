//! Writes the manual page and the shell completions of the hub into a
//! directory, for packages.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_complete::Shell;
use claude_relay_hub::settings::Args;

const NAME: &str = "claude-relay-hub";

fn main() -> io::Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.ok_or_else(|| io::Error::other("usage: pages DIRECTORY"))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Args::command(), NAME, &directory)?;
    }
    let mut page = File::create(directory.join(format!("{NAME}.1")))?;
    clap_mangen::Man::new(Args::command()).render(&mut page)
}

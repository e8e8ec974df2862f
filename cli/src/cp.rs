//! `claude-relay cp`: files into the server's workspace, and out of it.

use std::path::Path;

use crate::args::ServerArgs;
use crate::connect::{builder, explain};
use crate::exit::Exit;
use crate::files::Files;
use crate::terminal::Terminal;

pub(crate) async fn cp(
    server: &ServerArgs,
    from: &str,
    to: &str,
    terminal: &Terminal,
) -> Result<Exit, Exit> {
    let workspace = builder(server)?.workspace().map_err(|error| explain(error, server))?;
    let files = Files { workspace, server, terminal };
    match (from.strip_prefix(':'), to.strip_prefix(':')) {
        (None, Some(remote)) => files.upload(Path::new(from), remote).await,
        (Some(remote), None) => files.download(remote, to).await,
        _ => Err(Exit::usage(
            "one of the two is in the workspace and begins with a colon, as in claude-relay cp a.txt :b.txt",
        )),
    }?;
    Ok(Exit::OK)
}

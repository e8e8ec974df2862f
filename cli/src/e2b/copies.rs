//! `claude-relay e2b fork`: the copies of a sandbox.

use std::sync::Arc;

use claude_relay_client::e2b::{self, Sandbox};
use claude_relay_client::{Error, Reclaimed};
use tokio::sync::Semaphore;

use crate::args::ServerArgs;
use crate::connect::builder;
use crate::exit::Exit;
use crate::terminal::Terminal;

/// Copies that get their tokens at the same time.
const AT_ONCE: usize = 10;

/// Gives each copy a token of its own, and prints its id. One that could not get it
/// is told with its id: it runs, too.
pub(super) async fn tell(
    server: &ServerArgs,
    forks: Vec<Result<Sandbox, e2b::Error>>,
    terminal: &Terminal,
) -> Result<Exit, Exit> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let builder = builder(server)?;
    let mut under_way = Vec::new();
    for fork in forks {
        let (places, builder) = (Arc::clone(&places), builder.clone());
        under_way.push(tokio::spawn(async move {
            // The places are never closed.
            let _place = places.acquire().await;
            let copy = fork?;
            let reclaimed = builder.reclaim(&copy).await;
            Ok::<_, e2b::Error>((copy.id().to_string(), reclaimed))
        }));
    }
    let mut exit = Ok(Exit::OK);
    for fork in under_way {
        let failed = match fork.await.map_err(|error| Exit::failed(error.to_string()))? {
            Ok((id, reclaimed)) => {
                terminal.print(&format!("{id}\n"))?;
                match reclaimed {
                    Ok(Reclaimed::Unsupported) => {
                        terminal.complain(&format!(
                            "{id} has the token of the original: its server cannot exchange it"
                        ));
                        continue;
                    }
                    Ok(_) => continue,
                    Err(error) => {
                        terminal.complain(&format!(
                            "{id} runs, and may have the token of the original:"
                        ));
                        Exit::from(Error::from(error))
                    }
                }
            }
            Err(error) => Exit::from(Error::from(error)),
        };
        terminal.complain(failed.message().unwrap_or_default());
        exit = exit.and(Err(failed.silent()));
    }
    exit
}

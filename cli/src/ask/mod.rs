//! One question, one answer.

mod background;
mod notifications;
mod out;
pub(crate) mod prompt;
mod report;
mod run;

use serde_json::{Value, json};

use self::out::OutFile;
use self::prompt::{prompt, read_file};
use self::report::{Denial, Report};
use self::run::Seen;
use crate::args::{AskArgs, ServerArgs};
use crate::connect::fresh::begin_before_message;
use crate::connect::{configuration, connect, leave};
use crate::exit::Exit;
use crate::files::Files;
use crate::render::Renderer;
use crate::signals::Signals;
use crate::terminal::Terminal;
use crate::turn::{Ended, report as print_report};

pub(crate) async fn ask(
    server: &ServerArgs,
    args: AskArgs,
    terminal: &Terminal,
) -> Result<Exit, Exit> {
    let mut configured = configuration(&args.turn)?;
    if let Some(path) = &args.output_schema {
        let schema = read_file(path, "--output-schema")?;
        let schema: Value = serde_json::from_slice(&schema)
            .ok()
            .filter(Value::is_object)
            .ok_or_else(|| Exit::not_understood("--output-schema: it is not a JSON object"))?;
        configured.output_format = Some(json!({ "type": "json_schema", "schema": schema }));
    }
    if args.turn.interactive_approvals && args.json {
        return Err(Exit::usage("--interactive-approvals and --json do not go together"));
    }
    let prompt = prompt(&args, terminal)?;
    let out = args.out.as_deref().map(OutFile::open).transpose()?;
    let interactive = args.turn.interactive_approvals;
    let mut signals = Signals::new()?;
    let connected = match connect(server, configured, interactive, terminal, &mut signals).await {
        Ok(connected) => connected,
        Err(exit) if args.json && exit.message().is_some() => {
            let ended = Ended::without_connection(exit);
            print_json(&ended, &Seen::default(), false, terminal)?;
            return Err(ended.exit.silent());
        }
        Err(exit) => return Err(exit),
    };
    let client = &connected.0;
    let files = Files { workspace: client.workspace(), server, terminal };
    let prepare = async {
        if !server.e2b.is_fresh() {
            begin_before_message(client, &args.turn).await?;
        }
        files.send(&args.turn).await?;
        prompt.message(&files).await
    };
    let prepared = tokio::select! {
        prepared = prepare => prepared,
        signal = signals.next() => Err(signal.exit()),
    };
    let message = match prepared {
        Ok(message) => message,
        Err(exit) => {
            let exit = leave(&connected, server, exit, terminal, &mut signals).await;
            let ended = Ended::without_connection(exit);
            if args.json && ended.exit.message().is_some() {
                print_json(&ended, &Seen::default(), false, terminal)?;
                return Err(ended.exit.silent());
            }
            return Err(ended.exit);
        }
    };
    // With a schema the answer is what fits it, not the text on the way there.
    let stream = !args.json && !args.no_stream && args.output_schema.is_none();
    let mut renderer = Renderer::new(terminal, stream, server.verbose > 0);
    let (mut ended, seen) =
        run::run(client, message, &args.turn, &mut renderer, terminal, &mut signals).await;
    if args.fail_on_denial && !seen.denials.is_empty() && ended.exit.code() == 0 {
        ended.exit = denied(&seen.denials);
    }
    if renderer.end_turn(ended.exit.message()) && !args.json {
        ended.exit = ended.exit.silent();
    }
    let answer = &ended.answer;
    let text = answer.structured_output.as_deref().unwrap_or(&answer.text);
    let written = if args.json {
        print_json(&ended, &seen, !args.turn.goes_on(), terminal)
    } else if stream && renderer.printed {
        terminal.end_line().map_err(|error| Exit::unwritten(&error))
    } else if ended.text_is_cause {
        Ok(())
    } else {
        terminal
            .answer(text)
            .and_then(|()| terminal.end_line())
            .map_err(|error| Exit::unwritten(&error))
    };
    let saved = out.filter(|_| !ended.text_is_cause).map_or(Ok(()), |out| out.write(text));
    print_report(&ended, &args.turn, terminal);
    let Ended { mut exit, .. } = ended;
    // Nobody would be asked for the permissions of a background task.
    if exit.code() == 0 && !args.no_wait && !interactive {
        exit = background::wait(client, args.turn.timeout, terminal, &mut signals).await;
    }
    let exit = files.fetch(&args.turn, exit, &mut signals).await;
    let exit = leave(&connected, server, exit, terminal, &mut signals).await;
    written?;
    saved?;
    Ok(if args.json { exit.silent() } else { exit })
}

fn print_json(ended: &Ended, seen: &Seen, begun: bool, terminal: &Terminal) -> Result<(), Exit> {
    let text = serde_json::to_string(&Report::new(ended, seen, begun))
        .map_err(|error| Exit::failed(format!("cannot print the answer: {error}")))?;
    terminal.answer(&format!("{text}\n")).map_err(|error| Exit::unwritten(&error))
}

/// The end of a turn in which tools were not allowed.
fn denied(denials: &[Denial]) -> Exit {
    let mut tools: Vec<&str> = denials.iter().map(|denial| denial.tool_name.as_str()).collect();
    tools.sort_unstable();
    tools.dedup();
    Exit::failed(format!("not allowed in this turn: {}", tools.join(", ")))
}

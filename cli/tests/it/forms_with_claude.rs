//! Forms of MCP servers on the terminal, with the real CLI at the other end.

use claude_relay_client::{Client, RawJson};
use claude_relay_testing::for_both_clis;
use claude_relay_testing::real_cli::CliFixture;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::tools::Cli;
use serde_json::json;

use crate::support::terminal::{CTRL_D, Terminal};

for_both_clis! {
    a_form_is_filled_in_on_the_terminal,
    a_form_is_declined_in_a_question,
}

/// An MCP server whose tool asks with a form and tells the answer.
const SERVER: &str = r#"
import json, sys
def out(**fields): print(json.dumps(dict(jsonrpc="2.0", **fields)), flush=True)
call = None
for line in sys.stdin:
    m = json.loads(line); method = m.get("method"); id = m.get("id")
    if method == "initialize":
        out(id=id, result=dict(protocolVersion=m["params"]["protocolVersion"], capabilities=dict(tools={}), serverInfo=dict(name="booking", version="1")))
    elif method == "tools/list":
        out(id=id, result=dict(tools=[dict(name="book", description="books", inputSchema=dict(type="object", properties={}))]))
    elif method == "tools/call":
        call = id
        properties = dict(name=dict(type="string", title="Name"), nights=dict(type="integer"), kind=dict(type="string", enum=["first", "second"]), quiet=dict(type="boolean"))
        out(id="form", method="elicitation/create", params=dict(message="For whom?", requestedSchema=dict(type="object", properties=properties, required=["name"])))
    elif method is None and id == "form":
        told = json.dumps(m.get("result"), sort_keys=True).replace('"', "'")
        out(id=call, result=dict(content=[dict(type="text", text="told " + told)]))
    elif id is not None:
        out(id=id, error=dict(code=-32601, message="no"))
"#;

/// A relay whose agent has the server and will call its tool.
async fn fixture(cli: Cli) -> CliFixture {
    let fixture = CliFixture::start(cli, "unrestricted").await;
    let servers = json!({ "booking": { "command": "python3", "args": ["-c", SERVER] } });
    let configuration = RawJson::new(json!({ "mcpServers": servers }).to_string()).unwrap();
    let builder = Client::builder().connection_url(&*fixture.relay.url).environment(false);
    builder.patch_configuration(configuration).await.unwrap();
    fixture.api.script([Reply::tool("mcp__booking__book", json!({})), Reply::text("Booked.")]);
    fixture
}

fn told(fixture: &CliFixture) -> String {
    fixture.api.turns().last().expect("a request").body.to_string()
}

async fn a_form_is_filled_in_on_the_terminal(cli: Cli) {
    let fixture = fixture(cli).await;
    let mut terminal = Terminal::start(&fixture.relay.url, &["chat", "--no-history"], true);
    terminal.shows("> ").await;
    terminal.types("Book it\r").await;
    for (asked, typed) in [
        ("For whom?", ""),
        ("Fill it in? ", "y\r"),
        ("Text: ", "\r"),
        ("an answer is needed", "Ada\r"),
        ("A whole number: ", "two\r"),
        ("does not take that", "2\r"),
        ("2. second", ""),
        ("A number of the list: ", "2\r"),
        ("[y]es or [n]o: ", "\r"),
    ] {
        terminal.shows(asked).await;
        terminal.types(typed).await;
    }
    terminal.shows("Booked.").await;
    let told = told(&fixture);
    for part in ["'accept'", "'name': 'Ada'", "'nights': 2", "'kind': 'second'"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("quiet': "), "{told}");
    terminal.shows("> ").await;
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
    fixture.relay.stop().await;
}

async fn a_form_is_declined_in_a_question(cli: Cli) {
    let fixture = fixture(cli).await;
    let arguments = ["--interactive-approvals", "Book it"];
    let mut terminal = Terminal::start(&fixture.relay.url, &arguments, true);
    terminal.shows("Fill it in? ").await;
    terminal.types("d\r").await;
    terminal.shows("Booked.").await;
    assert!(terminal.ends().await.success());
    assert!(told(&fixture).contains("'decline'"), "{}", told(&fixture));
    fixture.relay.stop().await;
}

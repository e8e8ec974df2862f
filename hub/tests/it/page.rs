//! The page, in a browser that is driven through its own protocol.

use std::process::Stdio;
use std::time::Duration;

use claude_relay_testing::tools;
use claude_relay_testing::wait::{self, soon};
use futures_util::{SinkExt as _, StreamExt as _};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{Hub, HubDirectory, TOKEN};

/// A browser with one page.
struct Page {
    socket: WebSocketStream<TcpStream>,
    next: u64,
    session: Option<String>,
    browser: Child,
    _folder: TempDir,
}

impl Drop for Page {
    fn drop(&mut self) {
        let group = self.browser.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Page {
    async fn open(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = tools::headless_shell().unwrap_or_else(tools::chromium);
        let mut browser = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"])
            .args(["--disable-gpu", "--no-first-run", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // What Debian installs is a script, which runs the browser.
            .process_group(0)
            .spawn()
            .expect("the browser starts");
        let mut lines = BufReader::new(browser.stderr.take().unwrap()).lines();
        let address = loop {
            let line = soon(lines.next_line()).await.unwrap().expect("the browser listens");
            if let Some(address) = line.strip_prefix("DevTools listening on ") {
                break address.to_owned();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let host = address.split('/').nth(2).unwrap();
        let stream = soon(TcpStream::connect(host)).await.unwrap();
        let (socket, _) = soon(client_async(&address, stream)).await.unwrap();
        let mut page = Self { socket, next: 0, session: None, browser, _folder: folder };
        let made = page.call("Target.createTarget", json!({ "url": url })).await;
        let target = json!({ "targetId": made["targetId"], "flatten": true });
        let attached = page.call("Target.attachToTarget", target).await;
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        page
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut request = json!({ "id": self.next, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            request["sessionId"] = session.as_str().into();
        }
        soon(self.socket.send(Message::text(request.to_string()))).await.unwrap();
        loop {
            let Message::Text(text) = soon(self.socket.next()).await.unwrap().unwrap() else {
                continue;
            };
            let answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == self.next {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// The value of an expression.
    async fn value(&mut self, expression: &str) -> Value {
        let wanted = json!({ "expression": expression, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", wanted).await;
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    async fn until(&mut self, expression: &str) {
        let waiting = async {
            let mut probes = wait::Probes::new();
            while self.value(expression).await != true {
                probes.pause().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), waiting).await.is_err() {
            let text = self.value("document.body.innerText").await;
            panic!("not true: {expression}\n{text}");
        }
    }

    /// Puts the focus into an element and types as a person does.
    async fn type_into(&mut self, selector: &str, text: &str) {
        self.until(&format!("!!document.querySelector('{selector}')")).await;
        self.value(&format!("document.querySelector('{selector}').focus()")).await;
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    async fn click(&mut self, text: &str) {
        let button = format!(
            "[...document.querySelectorAll('button')].find((one) => one.textContent.startsWith('{text}'))"
        );
        self.until(&format!("!!{button}")).await;
        self.value(&format!("{button}.click()")).await;
    }
}

#[tokio::test]
async fn what_a_person_types_while_a_form_is_sent_stays() {
    let place = HubDirectory::demo();
    let (hub, _, _) = place.start_with_agent("a").await;
    let mut page = open(&hub).await;
    // The answers wait until the test lets them come.
    page.value(
        "globalThis.release = null; globalThis.read = 0; const real = fetch; \
         globalThis.fetch = async (path, asked) => { \
           const answer = await real(path, asked); \
           if (asked.method !== 'POST') return answer; \
           await new Promise((done) => { release = done; }); \
           const json = answer.json.bind(answer); \
           answer.json = async () => { const value = await json(); read += 1; return value; }; \
           return answer; }; 0",
    )
    .await;
    page.until("!!document.querySelector('#workspaces li button')").await;
    page.value("document.querySelector('#workspaces li button').click()").await;
    page.until("!document.getElementById('agent').hidden").await;
    let fields = ["#new-workspace input", "#message textarea", "#workspaces form input"];
    for (number, field) in fields.iter().enumerate() {
        let value = format!("document.querySelector('{field}').value");
        let submit = format!("document.querySelector('{field}').form.requestSubmit()");
        page.type_into(field, "one").await;
        page.value(&submit).await;
        page.until("!!release").await;
        page.type_into(field, " and two").await;
        page.value("release(), release = null, 0").await;
        page.until(&format!("read === {}", number * 2 + 1)).await;
        assert_eq!(page.value(&value).await, "one and two", "{field}");
        // What was sent as it stands goes.
        page.value(&submit).await;
        page.until("!!release").await;
        page.value("release(), release = null, 0").await;
        page.until(&format!("read === {}", number * 2 + 2)).await;
        assert_eq!(page.value(&value).await, "", "{field}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_page_whose_token_is_right_tries_again_after_too_many_wrong_ones() {
    let place = HubDirectory::with(&["--pin", "482913"], &["--demo"], &[]).without_token();
    let hub = place.start().await;
    for _ in 0..10 {
        let headers = [("authorization", "Bearer wrong-token")];
        hub.request("GET", "/api/agents", &headers, Value::Null).await;
    }
    let token = claude_relay_hub::settings::pin_token("482913");
    let mut page = Page::open(&format!("http://{}/#token={token}", hub.address)).await;
    page.until("document.getElementById('connection')?.textContent === 'connection lost'").await;
    // A second connection is tried.
    page.value(
        "globalThis.tried = 0; const Real = WebSocket; globalThis.WebSocket = class extends Real \
         { constructor(url) { super(url); tried += 1; } }; 0",
    )
    .await;
    page.until("tried > 0").await;
    hub.stop().await;
}

async fn open(hub: &Hub) -> Page {
    let mut page = Page::open(&format!("http://{}/#token={TOKEN}", hub.address)).await;
    page.until("document.getElementById('connection')?.textContent === 'connected'").await;
    page
}

#[tokio::test]
async fn a_person_creates_agents_talks_to_one_and_answers_it() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    let mut page = open(&hub).await;
    assert_eq!(page.value("location.hash").await, "", "the token is not shown");
    page.type_into("#new-workspace input", "first").await;
    page.click("Create").await;
    page.until("document.querySelector('#workspaces h2')?.textContent === 'first'").await;
    page.type_into("#workspaces input", "builder").await;
    page.value("document.querySelector('#workspaces form').requestSubmit()").await;
    page.click("builder (builder): stopped").await;
    page.until("!document.getElementById('agent').hidden").await;
    page.type_into("#message textarea", r#"{"permission":"Bash"}"#).await;
    page.click("Send").await;
    page.until("document.querySelector('.request h2')?.textContent.includes('Bash')").await;
    page.click("Allow").await;
    page.until("document.getElementById('log').innerText.includes('allow')").await;
    page.until("!document.querySelector('.request')").await;
    page.until("document.getElementById('agent-name').textContent.includes('idle')").await;
    // A client that is refused is told how to get in.
    let mut refused = Page::open(&format!("http://{}/", hub.address)).await;
    refused
        .until(
            "document.getElementById('connection')?.textContent.includes('the token is missing')",
        )
        .await;
    hub.stop().await;
}

#[tokio::test]
async fn what_a_person_types_and_looks_at_stays_while_agents_work() {
    let place = HubDirectory::demo();
    let (hub, workspace, agent) = place.start_with_agent("busy").await;
    let mut page = open(&hub).await;
    page.type_into("#workspaces input", "half a wo").await;
    page.value("globalThis.before = document.querySelector('#workspaces li button')").await;
    hub.say(&agent, r#"{"n":100000,"size":300,"rate":50}"#).await;
    page.until("document.querySelector('#workspaces li').textContent.includes('working')").await;
    // Other agents and a request come, too.
    let asking = hub.agent(&workspace, "asking").await;
    hub.say(&asking, r#"{"permission":"Bash"}"#).await;
    page.until("!!document.querySelector('.request')").await;
    page.value("globalThis.request = document.querySelector('.request button')").await;
    hub.agent(&workspace, "third").await;
    page.until("document.querySelectorAll('#workspaces li').length === 3").await;
    page.call("Input.insertText", json!({ "text": "rd" })).await;
    assert_eq!(
        page.value("document.querySelector('#workspaces input').value").await,
        "half a word"
    );
    let is_same = "globalThis.before === document.querySelector('#workspaces li button') \
                   && globalThis.request === document.querySelector('.request button')";
    assert_eq!(page.value(is_same).await, true, "buttons are not exchanged under the pointer");
    hub.ok("POST", &format!("/api/agents/{agent}/stop"), Value::Null).await;
    hub.ok("DELETE", &format!("/api/workspaces/{workspace}"), Value::Null).await;
    page.until("document.getElementById('workspaces').children.length === 0").await;
    hub.stop().await;
}

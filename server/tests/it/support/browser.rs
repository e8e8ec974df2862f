//! A headless Chromium, driven through WebDriver.
//!
//! fantoccini and not a crate that speaks the browser's own protocol: it is
//! small, maintained, and built on the hyper that the server uses already. The
//! two things WebDriver has no command for (colour scheme and screen of another
//! size) go through chromedriver's endpoint of that protocol.

use super::http;
use claude_relay_testing::process::{self, Mark};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::{tools, wait};
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// One browser with one window.
pub(crate) struct Browser {
    client: Client,
    driver_address: SocketAddr,
    _driver: Child,
    _swept: Swept,
}

/// Kills what bears its mark. It exists before the first process does, so that
/// a browser that did not start in time is not left behind.
struct Swept(Mark);

impl Drop for Swept {
    fn drop(&mut self) {
        // More than once: what is killed may just have started another one.
        wait::until_blocking(wait::DEADLINE, || {
            let left = self.0.processes();
            for process in &left {
                process::signal(process.pid, Signal::KILL);
            }
            left.is_empty().then_some(())
        });
    }
}

impl Browser {
    /// Starts Chromium's headless shell, which needs a third of the processor's
    /// time; Chromium itself where there is none.
    pub(crate) async fn start(env: &TestEnv) -> Self {
        match tools::headless_shell() {
            Some(shell) => {
                let with_window =
                    concat!(env!("CARGO_MANIFEST_DIR"), "/../testing/headless-browser");
                Self::launch(env, Path::new(with_window), &[("HEADLESS_SHELL", &shell)]).await
            }
            None => Self::start_whole(env).await,
        }
    }

    /// Starts Chromium, for what its headless shell does not have: a history.
    pub(crate) async fn start_whole(env: &TestEnv) -> Self {
        Self::launch(env, &tools::chromium(), &[]).await
    }

    /// Starts chromedriver on a free port, and through it the browser.
    async fn launch(env: &TestEnv, program: &Path, variables: &[(&str, &PathBuf)]) -> Self {
        let swept = Swept(Mark::new());
        let (driver, port) = start_driver(env, &swept.0, variables).await;
        let driver_address = SocketAddr::from(([127, 0, 0, 1], port));

        let capabilities = json!({ "goog:chromeOptions": {
            "binary": program,
            "args": [
                "--headless=new",
                // Tests may run as root, and in containers with a small /dev/shm.
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--disable-gpu",
                "--no-first-run",
                "--hide-scrollbars",
                // A picture that moves is drawn anew sixty times a second.
                "--force-prefers-reduced-motion",
                format!("--user-data-dir={}", env.file("chromium").display()),
                // A test reaches its own server and nobody else.
                "--disable-background-networking",
                "--host-resolver-rules=MAP relay.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        }, "goog:loggingPrefs": { "browser": "ALL" } });
        let Value::Object(capabilities) = capabilities else { unreachable!("an object above") };
        let client = wait::within(
            "Chromium",
            ClientBuilder::new(HttpConnector::new())
                .capabilities(capabilities)
                .connect(&format!("http://{driver_address}")),
        )
        .await
        .expect("Chromium starts");
        Self { client, driver_address, _driver: driver, _swept: swept }
    }

    /// Loads a page.
    pub(crate) async fn open(&self, url: &str) {
        let loaded = wait::within("the page", self.client.goto(url)).await;
        loaded.expect("the page loads");
    }

    /// The element that a CSS selector finds, waited for.
    pub(crate) async fn find(&self, css: &str) -> Element {
        let found = self.client.wait().at_most(wait::DEADLINE).for_element(Locator::Css(css)).await;
        found.unwrap_or_else(|error| panic!("an element {css}: {error}"))
    }

    /// Clicks on the element, which must be there to be clicked on. One that is
    /// replaced in between is looked for again.
    pub(crate) async fn click(&self, css: &str) {
        let begun = Instant::now();
        while let Err(error) = self.find(css).await.click().await {
            let is_replaced = error.to_string().contains("stale element reference");
            assert!(is_replaced && begun.elapsed() < wait::DEADLINE, "a click on {css}: {error}");
        }
    }

    /// Types into the element.
    pub(crate) async fn type_into(&self, css: &str, keys: &str) {
        let typed = self.find(css).await.send_keys(keys).await;
        typed.unwrap_or_else(|error| panic!("keys into {css}: {error}"));
    }

    /// The value of a JavaScript expression in the page.
    pub(crate) async fn evaluate(&self, expression: &str) -> Value {
        let value = self.client.execute(&format!("return ({expression})"), Vec::new()).await;
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Runs JavaScript in the page.
    pub(crate) async fn run_script(&self, script: &str) {
        let ran = self.client.execute(script, Vec::new()).await;
        ran.unwrap_or_else(|error| panic!("{script:.200}: {error}"));
    }

    /// Waits until a JavaScript expression is true.
    pub(crate) async fn until(&self, expression: &str) {
        wait::within(&format!("the page to show that {expression}"), async {
            let mut probes = wait::Probes::new();
            while self.evaluate(&format!("Boolean({expression})")).await != true {
                probes.pause().await;
            }
        })
        .await;
    }

    /// Emulates a screen: size in CSS pixels and `prefers-color-scheme`.
    pub(crate) async fn screen(&self, width: u32, height: u32, scheme: &str) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width.min(height) < 600,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// Emulates `prefers-reduced-motion`.
    pub(crate) async fn motion(&self, value: &str) {
        let features =
            json!({ "features": [{ "name": "prefers-reduced-motion", "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// Drags files over the middle of the element, and lets them go there.
    pub(crate) async fn drop_files(&self, css: &str, files: &[&Path]) {
        let at = self
            .evaluate(&format!(
                "(box => [box.x + box.width / 2, box.y + box.height / 2])\
                 (document.querySelector({}).getBoundingClientRect())",
                json!(css)
            ))
            .await;
        for kind in ["dragEnter", "dragOver", "drop"] {
            let data = json!({ "items": [], "files": files, "dragOperationsMask": 1 });
            let event = json!({ "type": kind, "x": at[0], "y": at[1], "data": data });
            self.devtools("Input.dispatchDragEvent", event).await;
        }
    }

    /// Lets the page use the clipboard, which a person allows by a gesture.
    pub(crate) async fn allow_clipboard(&self) {
        let permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"];
        self.devtools("Browser.grantPermissions", json!({ "permissions": permissions })).await;
    }

    /// Writes what the window shows to `screenshots/NAME.png` in the target
    /// directory.
    pub(crate) async fn screenshot(&self, name: &str) {
        let png = self.client.screenshot().await.expect("a screenshot");
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../screenshots");
        std::fs::create_dir_all(&directory).expect("a directory below target");
        std::fs::write(directory.join(format!("{name}.png")), png).expect("a file below target");
    }

    /// Nothing is wider than the window, and no button of the bar beyond its edge,
    /// where one could neither see nor scroll to it.
    pub(crate) async fn assert_fits(&self, name: &str) {
        let beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        let beyond = self.evaluate(beyond).await;
        assert!(
            beyond.as_f64().is_some_and(|beyond| beyond <= 0.0),
            "{name} is {beyond} px too wide"
        );
        let hidden = "[...document.querySelectorAll('header button')]\
                      .filter(button => button.getBoundingClientRect().right > innerWidth)\
                      .map(button => button.textContent)";
        assert_eq!(self.evaluate(hidden).await, json!([]), "beyond the edge of {name}");
    }

    /// Console output of the page since the last call:
    /// warnings and errors, a breach of the content security policy among them.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.driver("se/log", json!({ "type": "browser" })).await;
        let entries = log.as_array().into_iter().flatten();
        entries.filter_map(|entry| entry["message"].as_str().map(str::to_owned)).collect()
    }

    /// Ends the browser; nothing of it may be left.
    pub(crate) async fn end(self) {
        wait::within("Chromium to end", self.client.clone().close()).await.expect("it ends");
        drop(self);
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        self.driver("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await;
    }

    async fn driver(&self, command: &str, body: Value) -> Value {
        let session = self.client.session_id().await.expect("a session").expect("a session");
        let path = format!("/session/{session}/{command}");
        let answer = http::post(self.driver_address, &path, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{command}: {answer:?}");
        answer.json()["value"].take()
    }
}

/// Starts chromedriver on a free port. It looks for one that is free for IPv4 and
/// takes it for IPv6 too, where somebody else may have it: then it ends.
async fn start_driver(env: &TestEnv, mark: &Mark, variables: &[(&str, &PathBuf)]) -> (Child, u16) {
    const ATTEMPTS: u32 = 5;
    let (name, value) = mark.variable();
    for _ in 0..ATTEMPTS {
        let mut driver = Command::new(tools::chromedriver())
            .arg("--port=0")
            .env_clear()
            .envs(env.environment())
            .env(name, value)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver starts");
        let stdout = driver.stdout.take().expect("stdout is piped");
        if let Some(port) = wait::within("chromedriver's port", driver_port(stdout)).await {
            return (driver, port);
        }
    }
    panic!("chromedriver ended before it listened, {ATTEMPTS} times");
}

/// Reads the port from what chromedriver says when it is ready, and goes on
/// reading so that it never blocks. `None` when it ends before that.
async fn driver_port(stdout: impl tokio::io::AsyncRead + Unpin + Send + 'static) -> Option<u16> {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let port = line.rsplit_once("started successfully on port ").map(|(_, port)| port);
        if let Some(port) = port.and_then(|port| port.trim_end_matches('.').parse().ok()) {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Some(port);
        }
    }
    None
}

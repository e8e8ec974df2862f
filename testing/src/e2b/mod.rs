//! Fake of the E2B API.
//!
//! It is the control plane, the storage for archives, envd and
//! the proxy in front of the sandboxes, all on one loopback port. Every
//! request is checked against the published specification, and so is every
//! answer of its own. It can fail at every step, and it knows at the end
//! which sandboxes are still alive: [`FakeE2b::finish`] checks that none is.

mod api;
mod envd;
mod network;
mod proto;
mod query;
mod record;
mod reply;
mod sandbox_proxy;
mod secrets;
mod server;
mod shared;
mod spec;
mod state;
mod validators;

use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use crate::e2b::api::API_KEY;
pub use crate::e2b::record::{Channel, Recorded};
pub use crate::e2b::state::{Fault, Generations};

use crate::e2b::shared::Shared;
use crate::e2b::state::State;

/// A running fake. Stops when dropped.
pub struct FakeE2b {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl FakeE2b {
    /// Starts one on a free loopback port.
    ///
    /// # Panics
    /// If there is no port, or the specification cannot be read.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::new(address));
        let server = tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        Self { address, shared, server }
    }

    /// Its address, `http://127.0.0.1:PORT`: for the API and, with the
    /// routing headers, for every sandbox.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request of this route goes wrong. A route is a method and a
    /// path as the specification has it, `POST /sandboxes/{sandboxID}/pause`,
    /// or `PUT upload`.
    pub fn fail(&self, route: &str, fault: Fault) {
        self.state().faults.push_back((route.to_owned(), fault));
    }

    /// The next requests of this route go wrong.
    pub fn fail_times(&self, times: usize, route: &str, fault: &Fault) {
        for _ in 0..times {
            self.fail(route, fault.clone());
        }
    }

    /// The next request of this route has its effect and its answer late.
    pub fn delay(&self, route: &str, by: Duration) {
        self.fail(route, Fault::Delay(by));
    }

    /// Requests to this port of any sandbox go to this address.
    pub fn forward(&self, port: u16, to: SocketAddr) {
        self.forward_each(port, vec![to]);
    }

    /// Requests to this port of the first sandbox go to the first address, of the
    /// second to the second, and so on; after the last one from the first again.
    pub fn forward_each(&self, port: u16, to: Vec<SocketAddr>) {
        self.state().upstreams.insert(port, to);
    }

    /// From now on it has these generations of create and connect.
    pub fn has(&self, generations: Generations) {
        self.state().generations = generations;
    }

    /// A body of a create request, with everything that concerns the guest and
    /// nothing of the rules that act outside of it.
    #[must_use]
    pub fn for_the_guest(body: &[u8]) -> String {
        let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
        for place in ["/network", ""] {
            if let Some(network) = body.pointer_mut(place).and_then(Value::as_object_mut) {
                network.remove("rules");
            }
        }
        body.to_string()
    }

    /// From now on lists hold every sandbox, whatever metadata is asked for.
    pub fn ignore_filters(&self) {
        self.state().ignores_filters = true;
    }

    /// From now on a sandbox is only to be had of a template that was built
    /// here, and not of any name.
    pub fn insist_on_templates(&self) {
        self.state().insist_on_templates = true;
    }

    /// A template of this name, as if it had been built.
    pub fn has_template(&self, name: &str) {
        let id = format!("template-{name}");
        self.state().templates.entry(name.to_owned()).or_default().id = id;
    }

    /// From now on the fork of this number in a request fails.
    pub fn refuse_fork(&self, number: u64) {
        self.state().refused_forks.insert(number);
    }

    /// Builds fail at this step with this message.
    pub fn fail_step(&self, step: &str, message: &str) {
        self.state().failing_step = Some((step.to_owned(), message.to_owned()));
    }

    /// Sets the number of lines of a build's log in each answer.
    pub fn log_pages(&self, pages: &[usize]) {
        self.state().log_pages = Some(pages.to_vec());
    }

    /// Sets the number of sandboxes in a page of a list.
    pub fn page_size(&self, size: usize) {
        self.state().page_size = Some(size);
    }

    /// Keeps no requests from now on, for tests of many sandboxes.
    pub fn forget_requests(&self) {
        let mut state = self.state();
        state.forget_requests = true;
        state.requests.clear();
    }

    /// Ends a sandbox as if its time had run out.
    pub fn expire(&self, id: &str) {
        if let Some(sandbox) = self.state().sandboxes.get_mut(id) {
            sandbox.paused = false;
            sandbox.end = SystemTime::UNIX_EPOCH;
        }
        self.state().expire();
    }

    /// Makes a sandbox older than it is.
    pub fn age(&self, id: &str, by: Duration) {
        if let Some(sandbox) = self.state().sandboxes.get_mut(id) {
            sandbox.started -= by;
        }
    }

    /// The ids of the living sandboxes, paused ones included.
    #[must_use]
    pub fn alive(&self) -> Vec<String> {
        let mut state = self.state();
        state.expire();
        state.sandboxes.keys().cloned().collect()
    }

    /// Number of sandboxes that were made, and the most that lived at once.
    #[must_use]
    pub fn counts(&self) -> (u64, usize) {
        let state = self.state();
        (state.created, state.most_alive)
    }

    /// The seconds that a sandbox has left.
    #[must_use]
    pub fn seconds_left(&self, id: &str) -> Option<u64> {
        let end = self.state().sandboxes.get(id)?.end;
        Some(end.duration_since(SystemTime::now()).unwrap_or_default().as_secs())
    }

    /// The network settings of a sandbox, as they were last set.
    #[must_use]
    pub fn network(&self, id: &str) -> Option<Value> {
        Some(self.state().sandboxes.get(id)?.network.clone())
    }

    /// The content of a file of a sandbox.
    #[must_use]
    pub fn file(&self, id: &str, path: &str) -> Option<Vec<u8>> {
        self.state().sandboxes.get(id)?.files.files.get(path).cloned()
    }

    /// The files of an uploaded archive, with their contents.
    #[must_use]
    pub fn uploaded(&self, hash: &str) -> Option<Vec<(String, Vec<u8>)>> {
        record::entries(self.state().stored.get(hash)?)
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.state().requests.clone()
    }

    /// Violations of the specification by requests and by the fake's own answers.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// The end of a test: everything was by the specification, the key was
    /// seen by nobody but the API, and no sandbox lives on.
    ///
    /// # Panics
    /// If not.
    pub fn finish(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "against the specification: {violations:#?}");
        for request in self.requests() {
            let whole = format!("{request:?}{}", String::from_utf8_lossy(&request.body));
            let allowed = request.channel == Channel::Api;
            assert!(allowed || !whole.contains(API_KEY), "the API key was sent to {request:?}");
        }
        let alive = self.alive();
        assert!(alive.is_empty(), "sandboxes live on: {alive:?}");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for FakeE2b {
    fn drop(&mut self) {
        self.server.abort();
    }
}

//! nginx in front of a server, on a free port of the loopback address.

use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::{tools, wait};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

/// A running nginx; it ends with this.
pub(crate) struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    /// Starts it with what is to stand inside of its `server` block.
    #[expect(
        clippy::disallowed_methods,
        reason = "the rule is about the server's own children; this one is the test's"
    )]
    pub(crate) fn start(env: &TestEnv, name: &str, inside: &str) -> Self {
        let directory = env.file(format!("nginx-{name}"));
        std::fs::create_dir(&directory).expect("a directory of the test");
        let port = free_port();
        let at = directory.display();
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/error.log;\n\
             events {{}}\n\
             http {{\naccess_log off;\nclient_body_temp_path {at}/body;\nproxy_temp_path {at}/proxy;\n\
             fastcgi_temp_path {at}/f;\nuwsgi_temp_path {at}/u;\nscgi_temp_path {at}/s;\n\
             server {{\nlisten 127.0.0.1:{port};\n{inside}\n}}\n}}\n"
        );
        let file = directory.join("nginx.conf");
        std::fs::write(&file, configuration).expect("a file of the test");
        let child = Command::new(tools::nginx())
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(directory.join("error.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx starts");
        let nginx = Self { child, port };
        let listens = wait::until_blocking(wait::DEADLINE, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(())
        });
        assert!(
            listens.is_some(),
            "{name}: {:?}",
            std::fs::read_to_string(directory.join("error.log"))
        );
        nginx
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

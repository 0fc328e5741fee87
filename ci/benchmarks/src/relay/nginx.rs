//! nginx with one file, to compare with.

use anyhow::{Context as _, Result, bail};
use std::fs;
use std::net::TcpListener as StdListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const FILE: &str = "value";

/// A running nginx; it ends with this value.
pub(crate) struct Nginx {
    _child: Child,
    _folder: TempDir,
    port: u16,
}

impl Nginx {
    /// Serves these bytes.
    pub(crate) async fn start(bytes: &[u8]) -> Result<Nginx> {
        let folder = tempfile::tempdir().context("a temporary folder")?;
        // Its workers run as another user.
        open_to_all(folder.path())?;
        fs::write(folder.path().join(FILE), bytes).context("writing a file")?;
        let port = StdListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let here = folder.path().display();
        let configuration = format!(
            "daemon off; master_process off; error_log stderr error; pid {here}/pid; worker_processes 1; events {{}}\n\
             http {{ access_log off; sendfile on; client_body_temp_path {here}/a; proxy_temp_path {here}/b;\n\
             fastcgi_temp_path {here}/c; uwsgi_temp_path {here}/d; scgi_temp_path {here}/e;\n\
             server {{ listen 127.0.0.1:{port}; root {here}; }} }}\n"
        );
        let path = folder.path().join("nginx.conf");
        fs::write(&path, configuration).context("writing nginx.conf")?;
        let child = Command::new("nginx")
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&path)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting nginx: install the package nginx-light")?;
        let nginx = Nginx { _child: child, _folder: folder, port };
        for _ in 0..100 {
            if nginx.connect().await.is_ok() {
                return Ok(nginx);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("nginx does not listen on port {port}")
    }

    pub(crate) async fn connect(&self) -> Result<TcpStream> {
        Ok(TcpStream::connect(("127.0.0.1", self.port)).await?)
    }

    /// Fetches the file; gives how many bytes came after the head.
    pub(crate) async fn fetch(&self, stream: &mut TcpStream, expected: usize) -> Result<Vec<u8>> {
        let request = format!("GET /{FILE} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::with_capacity(expected + 1024);
        loop {
            if let Some(end) = bytes.windows(4).take(2048).position(|four| four == b"\r\n\r\n") {
                let head = end + 4;
                while bytes.len() < head + expected {
                    if stream.read_buf(&mut bytes).await? == 0 {
                        bail!("nginx hung up");
                    }
                }
                bytes.drain(..head);
                return Ok(bytes);
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                bail!("nginx hung up");
            }
        }
    }
}

fn open_to_all(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .context("opening a folder to all")
}

//! Static files below one folder.

use super::answer::PIECE_BYTES;
use super::{Answer, Refusal, plain};
use crate::store::StoreError;
use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Settings of a folder.
const INDEX: &str = "index.html";

/// A folder of files to serve.
#[derive(Debug)]
pub(super) struct Files {
    /// The canonical path.
    root: PathBuf,
}

impl Files {
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let at = |error: io::Error| {
            io::Error::new(error.kind(), format!("folder {}: {error}", root.display()))
        };
        let canonical = root.canonicalize().map_err(at)?;
        if !canonical.is_dir() {
            return Err(at(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self { root: canonical })
    }

    /// Answers `GET` and `HEAD`.
    pub(super) async fn answer(&self, request: &Request<Incoming>) -> Result<Answer, Refusal> {
        let path = request.uri().path();
        let not_found = || Refusal::not_found(path);
        let relative = relative(path).ok_or_else(not_found)?;
        let found = self.find(&relative).await.ok_or_else(not_found)?;
        if found.is_dir && !path.ends_with('/') {
            return moved(&format!("{path}/"));
        }
        let file = if found.is_dir {
            self.find(&relative.join(INDEX)).await.ok_or_else(not_found)?
        } else if path.ends_with('/') {
            return Err(not_found());
        } else {
            found
        };
        let opened = Opened::open(&file.path).await.map_err(|_| not_found())?;
        answer_with(request, &file.path, opened)
    }

    /// The file or folder, if it exists and lies below the root after all links are resolved.
    async fn find(&self, relative: &Path) -> Option<Found> {
        let path = tokio::fs::canonicalize(self.root.join(relative)).await.ok()?;
        if !path.starts_with(&self.root) {
            return None;
        }
        let metadata = tokio::fs::metadata(&path).await.ok()?;
        let is_dir = metadata.is_dir();
        (is_dir || metadata.is_file()).then_some(Found { path, is_dir })
    }
}

struct Found {
    path: PathBuf,
    is_dir: bool,
}

/// An open file with a known hash; it is read a second time while the answer is sent.
struct Opened {
    file: File,
    length: u64,
    hash: String,
}

impl Opened {
    async fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path).await?;
        let (mut hash, mut length) = (Sha256::new(), 0);
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let count = file.read(&mut buffer).await?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            length += count as u64;
        }
        file.rewind().await?;
        let hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { file, length, hash })
    }

    /// The file in pieces. If the file was truncated meanwhile, the answer is aborted.
    fn pieces(self) -> impl Stream<Item = Result<Frame<Bytes>, StoreError>> + Send + 'static {
        unfold((self.file, self.length), async |(mut file, left)| {
            if left == 0 {
                return None;
            }
            let wanted = left.min(PIECE_BYTES as u64) as usize;
            let mut piece = vec![0; wanted];
            match file.read_exact(&mut piece).await {
                Ok(_) => Some((Ok(Frame::data(piece.into())), (file, left - wanted as u64))),
                Err(error) => {
                    tracing::warn!(%error, "sending a static file is aborted");
                    let error = StoreError::Backend {
                        action: "reading a static file",
                        reason: error.to_string(),
                    };
                    Some((Err(error), (file, 0)))
                }
            }
        })
    }
}

fn answer_with(request: &Request<Incoming>, path: &Path, file: Opened) -> Result<Answer, Refusal> {
    let tag = format!("\"{}\"", &file.hash[..32]);
    let unchanged = request
        .headers()
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| matches!(known.trim(), "*") || known.trim().trim_start_matches("W/") == tag);
    let length = file.length;
    let mut answer = match (unchanged, request.method()) {
        (true, _) => plain(StatusCode::NOT_MODIFIED, content_type(path), ""),
        (false, &Method::HEAD) => {
            let mut answer = plain(StatusCode::OK, content_type(path), "");
            answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            answer
        }
        (false, _) => {
            let mut answer = Response::new(StreamBody::new(file.pieces()).boxed_unsync());
            let headers = answer.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            answer
        }
    };
    let tag = HeaderValue::try_from(tag).map_err(|_| Refusal::not_found(request.uri().path()))?;
    answer.headers_mut().insert(header::ETAG, tag);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(answer)
}

/// Redirects to the folder's address with a slash, so that relative links in its index work.
fn moved(to: &str) -> Result<Answer, Refusal> {
    let mut answer = plain(StatusCode::MOVED_PERMANENTLY, "text/plain", "");
    let to = HeaderValue::from_str(to).map_err(|_| Refusal::not_found(to))?;
    answer.headers_mut().insert(header::LOCATION, to);
    Ok(answer)
}

/// The path below the root that a URL path names; `None` if it leads outside or to a hidden file.
fn relative(path: &str) -> Option<PathBuf> {
    let mut relative = PathBuf::new();
    let path = path.strip_prefix('/')?;
    if path.is_empty() {
        return Some(relative);
    }
    for segment in path.strip_suffix('/').unwrap_or(path).split('/') {
        let segment = decode(segment)?;
        let hidden = segment.is_empty() || segment.starts_with('.');
        if hidden || segment.contains(['/', '\\', ':', '\0']) {
            return None;
        }
        relative.push(segment);
    }
    Some(relative)
}

/// Decodes percent-encoding.
pub(super) fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push((high * 16 + low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn content_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "ts" | "txt" | "md" => "text/plain; charset=utf-8",
        "json" | "map" => "application/json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        assert_eq!(relative("/"), Some(PathBuf::new()));
        assert_eq!(relative("/a/b%20c.js"), Some(PathBuf::from("a/b c.js")));
        assert_eq!(relative("/a/"), Some(PathBuf::from("a")));
        for bad in [
            "",
            "a",
            "//",
            "/a//b",
            "/..",
            "/../a",
            "/..%2fa",
            "/%2e%2e/a",
            "/a%2f..%2f..%2fb",
            "/..%5ca",
            "/.git/config",
            "/a/%2egit",
            "/%00",
            "/%",
            "/%4",
            "/%zz",
            "/%ff",
            "/c:/x",
        ] {
            assert_eq!(relative(bad), None, "{bad}");
        }
    }
}

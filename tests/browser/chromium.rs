//! A real browser, asked through its DevTools: what it understood, where things are, what it would print.

use crate::harness::not_shown;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// A browser with one page, whose profile is new and goes with it.
pub struct Browser {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    calls: u64,
    page: Option<String>,
    /// What the page complained about.
    pub log: Vec<String>,
    _profile: TempDir,
}

const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--font-render-hinting=none",
    "--remote-debugging-pipe",
    "--user-data-dir",
];

impl Browser {
    /// A browser, or a loud word that this test shows nothing here.
    pub fn open(shows: &str) -> Option<Browser> {
        if Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            not_shown(shows, "chromium is not installed");
            return None;
        }
        let profile = tempfile::tempdir().unwrap();
        // DevTools are on the descriptors 3 and 4. Whatever happens, the browser is gone after some minutes.
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#, "sh", "timeout", "--kill-after=5", "500", "chromium"]);
        command.args(&FLAGS[..FLAGS.len() - 1]).arg(format!("{}={}", FLAGS[FLAGS.len() - 1], profile.path().display())).arg("about:blank");
        command.env("HOME", profile.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut browser = Browser { child, to, from, calls: 0, page: None, log: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let session = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.page = Some(session["sessionId"].as_str().unwrap().to_owned());
        browser.call("Page.enable", json!({}));
        browser.call("Log.enable", json!({}));
        Some(browser)
    }

    fn message(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser is gone");
        let message: Value = serde_json::from_slice(&bytes).unwrap();
        if message["method"] == "Log.entryAdded" {
            self.log.push(message["params"]["entry"]["text"].to_string());
        }
        message
    }

    fn call(&mut self, method: &str, words: Value) -> Value {
        self.calls += 1;
        let mut call = json!({"id": self.calls, "method": method, "params": words});
        if let Some(page) = &self.page {
            call["sessionId"] = json!(page);
        }
        self.to.as_mut().unwrap().write_all(format!("{call}\0").as_bytes()).unwrap();
        loop {
            let mut answer = self.message();
            if answer["id"] == self.calls {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }

    /// Shows a file as a screen of this width does, in light or dark.
    pub fn show(&mut self, file: &Path, width: u32, scheme: &str) {
        self.screen(width, scheme);
        self.call("Page.navigate", json!({"url": format!("file://{}", file.display())}));
        while self.message()["method"] != "Page.loadEventFired" {}
    }

    /// Changes the screen under a page; `print` is paper.
    pub fn screen(&mut self, width: u32, scheme: &str) {
        let (media, scheme) = if scheme == "print" { ("print", "dark") } else { ("screen", scheme) };
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"media": media, "features": features}));
    }

    /// What an expression is in the page. The page's own policy does not hold for DevTools.
    pub fn ask(&mut self, expression: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true}));
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The page on A4, as a PDF.
    pub fn print(&mut self) -> Vec<u8> {
        let answer = self.call("Page.printToPDF", json!({"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": true}));
        decoded(answer["data"].as_str().unwrap())
    }

    /// A picture of so much of the page, from its top.
    pub fn picture(&mut self, height: u32) -> Vec<u8> {
        let size = self.ask("[innerWidth, document.documentElement.scrollHeight]");
        let height = size[1].as_u64().unwrap().min(u64::from(height));
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": height, "scale": 1});
        let answer = self.call("Page.captureScreenshot", json!({"format": "png", "clip": clip, "captureBeyondViewport": true}));
        decoded(answer["data"].as_str().unwrap())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.page = None;
        // It ends when nobody talks to it any more, and at the latest by its time limit.
        if let Some(mut to) = self.to.take() {
            let _ = to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        }
        let _ = self.child.wait();
    }
}

/// Bytes in base64, with nothing between the letters.
fn decoded(text: &str) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = LETTERS.iter().position(|known| *known == letter).unwrap() as u32;
        (bits, held) = ((bits << 6 | value) & 0xfff, held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

#[test]
fn base64_is_read_as_it_is_written() {
    assert_eq!(decoded("ZWNvLXRvb2xz"), b"eco-tools");
    assert_eq!(decoded("ZWNv/+8="), b"eco\xff\xef");
}

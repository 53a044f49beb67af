//! The page in a real browser, through chromedriver; skipped with a word where there is none.
#![allow(clippy::print_stderr)] // that word

mod common;

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use clinical_serve::ServeOptions;
use common::{NOTE, QUESTION, Reply, Running, request};
use serde_json::{Value, json};

/// A browser without a window, and the program that drives it.
struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
}

impl Browser {
    /// `None`, and a word about it, where there is no browser.
    fn start() -> Option<Self> {
        // A port that was free a moment ago.
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(driver) = driver else {
            eprintln!(
                "skipped: there is no chromedriver (Debian: apt-get install chromium-driver)"
            );
            return None;
        };
        let mut browser = Self {
            driver,
            address,
            session: String::new(),
        };
        for _ in 0..400 {
            if TcpStream::connect(address).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1280,900",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            // A machine with much to do takes its time over a long note.
            "timeouts": {"script": 300_000}, "goog:chromeOptions": {"args": arguments}}}});
        let (status, value) = browser.send("POST", "/session", &wanted);
        if status != 200 {
            eprintln!("skipped: the browser does not start: {value}");
            return None;
        }
        browser.session = value["sessionId"].as_str().unwrap().to_owned();
        Some(browser)
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let text = request(method, path, &[], &body.to_string());
        stream.write_all(text.as_bytes()).unwrap();
        let reply = Reply::read(&mut BufReader::new(stream));
        (reply.status, reply.json()["value"].take())
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        let (status, value) = self.send(method, &path, body);
        assert_eq!(status, 200, "{value}");
        value
    }

    fn open(&self, server: &Running) {
        let url = json!({"url": format!("http://{}/", server.address)});
        self.call("POST", "/url", &url);
        self.until("return document.getElementById('model').textContent.includes('demonstration')");
    }

    fn run(&self, script: &str, arguments: Value) -> Value {
        let body = json!({"script": script, "args": arguments});
        self.call("POST", "/execute/sync", &body)
    }

    fn until(&self, script: &str) {
        for _ in 0..1200 {
            if self.run(script, json!([])) == json!(true) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let page = self.run("return document.body.innerText", json!([]));
        panic!("it never happened: {script}\n{page}");
    }

    /// Types with the keyboard, wherever the focus is.
    fn keys(&self, keys: &[&str]) {
        let strokes = keys.iter().flat_map(|key| {
            [
                json!({"type": "keyDown", "value": key}),
                json!({"type": "keyUp", "value": key}),
            ]
        });
        let strokes: Vec<Value> = strokes.collect();
        let body = json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]});
        self.call("POST", "/actions", &body);
    }

    /// Asks as a reader would.
    fn ask(&self, note: &str, question: &str) {
        let fill = "document.getElementById('text').value = arguments[0]; \
            document.getElementById('question').value = arguments[1]; \
            document.getElementById('ask').click();";
        self.run(fill, json!([note, question]));
        self.until("return document.querySelector('.card .feedback, .card .error') !== null");
    }

    fn texts(&self, selector: &str) -> Vec<String> {
        let script =
            "return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent)";
        serde_json::from_value(self.run(script, json!([selector]))).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let path = format!("/session/{}", self.session);
            let _ = self.send("DELETE", &path, &json!({}));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

#[test]
fn a_reader_asks_and_checks() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("judged.jsonl");
    let server = Running::new(ServeOptions::new().with_feedback(&path));
    browser.open(&server);
    // Characters of one to four bytes before what is quoted: offsets must still be right.
    let note = format!("Fièvre µg 日本 🤕\n{NOTE}");
    browser.ask(&note, QUESTION);
    let answer = common::model().answer(&note, QUESTION).unwrap().text;
    assert_eq!(
        browser.texts(".card .answer")[0].replace("no support found", ""),
        answer
    );
    assert_eq!(browser.texts("#view mark").len(), 0);

    // By keyboard: to the sentence, and Enter.
    browser.run(
        "document.querySelector('.card .sentence').focus()",
        json!([]),
    );
    browser.keys(&["\u{e007}"]);
    let pressed = browser.texts(".sentence[aria-pressed=true]");
    assert_eq!(pressed.len(), 1);
    let quotes = browser.texts("#view mark.quote");
    assert!(
        quotes.iter().any(|quote| quote.contains("ischemic stroke")),
        "{quotes:?}"
    );
    // What is marked is what the server quoted, character by character.
    let visible = "const view = document.getElementById('view').getBoundingClientRect(); \
        const mark = document.querySelector('#view mark').getBoundingClientRect(); \
        return mark.top >= view.top - 1 && mark.bottom <= view.bottom + 1";
    browser.until(visible);
    assert!(browser.texts("#live")[0].contains("marked"));

    // Entities and a judgement, by clicks.
    browser.run("document.getElementById('entities').click()", json!([]));
    browser.until("return document.querySelectorAll('#view mark.entity').length > 5");
    let entities = browser.texts("#view mark.entity");
    let expected = common::bert().tag(&[&note]).swap_remove(0).unwrap();
    for entity in &expected {
        let text = &note[entity.range.clone()];
        assert!(
            entities.iter().any(|shown| text.contains(shown.as_str())),
            "{text}"
        );
    }
    browser.run(
        "document.querySelector('.feedback button').click()",
        json!([]),
    );
    browser.until("return document.getElementById('live').textContent.startsWith('Recorded')");
    let line = std::fs::read_to_string(&path).unwrap();
    let line: Value = serde_json::from_str(line.trim()).unwrap();
    assert_eq!(line["right"], true);
    assert_eq!(line["note"], note.as_str());
    assert_eq!(line["answer"], answer.as_str());

    // Exports count characters.
    let exported = browser.run("return JSON.parse(doccano())", json!([]));
    assert_eq!(exported["text"], note.as_str());
    let characters: Vec<char> = note.chars().collect();
    let label = exported["label"].as_array().unwrap();
    let quoted = label.iter().map(|label| {
        let at = |n: usize| label[n].as_u64().unwrap() as usize;
        characters[at(0)..at(1)].iter().collect::<String>()
    });
    let quoted: Vec<String> = quoted.collect();
    assert!(
        quoted.iter().any(|text| text.contains("ischemic stroke")),
        "{quoted:?}"
    );
    let brat = browser.run("return brat()", json!([]));
    for line in brat
        .as_str()
        .unwrap()
        .lines()
        .filter(|line| line.starts_with('T'))
    {
        let fields: Vec<&str> = line.split('\t').collect();
        let (_, place) = fields[1].split_once(' ').unwrap();
        let parts = place.split(';').map(|part| {
            let (start, end) = part.split_once(' ').unwrap();
            let range = start.parse::<usize>().unwrap()..end.parse().unwrap();
            characters[range].iter().collect::<String>()
        });
        assert_eq!(parts.collect::<Vec<_>>().join(" "), fields[2]);
    }
}

#[test]
fn an_answer_that_is_not_sure_is_shown_only_on_asking() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let server = Running::calibrated(1e6);
    browser.open(&server);
    assert!(browser.texts("#model")[0].contains("at most 5 %"));
    browser.ask(NOTE, QUESTION);
    assert!(browser.texts(".card .says-not")[0].contains("not sure enough"));
    let visible = "return document.querySelector('.card .answer').checkVisibility()";
    assert_eq!(browser.run(visible, json!([])), false);
    let page = browser.run("return document.body.innerText", json!([]));
    assert!(!page.as_str().unwrap().contains("The diagnosis was"));
    browser.run(
        "document.querySelector('.card .says-not + button').click()",
        json!([]),
    );
    assert_eq!(browser.run(visible, json!([])), true);
    assert!(browser.texts(".card .answer")[0].contains("ischemic stroke"));
}

#[test]
fn a_note_full_of_script_is_text() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let server = Running::new(ServeOptions::new());
    browser.open(&server);
    let markup = "<script>window.hit = 1</script><img src=x onerror='window.hit = 2'>\
        <svg onload=\"window.hit = 3\"></svg>\n</textarea><style>body{display:none}</style>\n[**Name 1**]\n";
    let note = format!("{}{NOTE}", markup.repeat(20));
    browser.ask(
        &note,
        &format!("<b onclick='window.hit = 4'>{QUESTION}</b>"),
    );
    for button in ["entities", "tags"] {
        browser.run(
            "document.getElementById(arguments[0]).click()",
            json!([button]),
        );
        let pressed = format!("return document.getElementById('{button}').ariaPressed === 'true'");
        browser.until(&pressed);
    }
    browser.run(
        "for (const node of document.querySelectorAll('.sentence')) node.click()",
        json!([]),
    );
    assert_eq!(
        browser.run("return window.hit === undefined", json!([])),
        true
    );
    let inside = "return document.querySelectorAll('#view script, #view img, #view svg, #view style, li b[onclick]').length";
    assert_eq!(browser.run(inside, json!([])), 0);
    let shown = browser.run(
        "return [...document.querySelectorAll('.row')].map((r) => r.textContent).join('\\n')",
        json!([]),
    );
    assert!(shown == note.as_str(), "the note is not shown as it is");
    // Even a page that tried could not: script that is not the page's own is refused.
    let tried = "const script = document.createElement('script'); \
        try { script.textContent = 'window.hit = 5'; } catch { return true; } \
        document.body.append(script); return window.hit === undefined";
    assert_eq!(browser.run(tried, json!([])), true);
}

#[test]
fn long_notes_and_notes_from_right_to_left() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let server = Running::new(ServeOptions::new());
    browser.open(&server);
    let mut note = NOTE.repeat(2_000_000 / NOTE.len() + 1);
    note.truncate(2_000_000);
    // It is refused by its length, in words, and shown nevertheless.
    browser.ask(&note, QUESTION);
    assert!(browser.texts(".card .error")[0].contains("tokens"));
    let rows = browser.run("return document.querySelectorAll('.row').length", json!([]));
    assert_eq!(rows, note.split('\n').count());
    browser.run("document.getElementById('edit').click()", json!([]));
    browser.ask(
        "التشخيص: سكتة دماغية\nDischarge Diagnosis: stroke",
        QUESTION,
    );
    let directions = "return [...document.querySelectorAll('.row')].map((row) => getComputedStyle(row).direction)";
    assert_eq!(browser.run(directions, json!([])), json!(["rtl", "ltr"]));
    // The page is as wide as the window on a telephone, too.
    let phone = json!({"width": 500, "height": 800});
    browser.call("POST", "/window/rect", &phone);
    let fits = "return document.documentElement.scrollWidth <= window.innerWidth";
    assert_eq!(browser.run(fits, json!([])), true);
}

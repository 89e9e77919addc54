use super::*;
use crate::service::{Control, Units};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::SystemTime;

fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap()
}

fn service(root: &Path) -> Service {
    Service::new(root, &Control::default(), &Units::default())
}

fn ask_in(root: &Path, probes: &[Probe]) -> Health {
    check(probes, &service(root), now(), &mut History::default())
}

fn ask_one(probe: Probe) -> Health {
    ask_in(Path::new("/"), &[probe])
}

fn error(health: &Health) -> &str {
    health.probes[0].error.as_deref().unwrap_or_default()
}

/// Answers every connection with these bytes; `None` never answers.
fn server(answer: Option<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            match &answer {
                None => open.push(stream),
                Some(answer) => {
                    read_head(&mut stream);
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        }
    });
    address
}

fn read_head(stream: &mut TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
}

fn status(line: &str, body: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()))
}

fn http(answer: Option<String>) -> Probe {
    Probe::Http { url: format!("http://{}/health", server(answer)), says: None, timeout: Some("400ms".parse().unwrap()) }
}

fn command(words: &[&str]) -> Probe {
    Probe::Command { command: words.iter().map(|word| (*word).to_owned()).collect(), says: None, timeout: Some("5s".parse().unwrap()) }
}

fn refused() -> String {
    // Nobody listens there. A port that was bound and given back is soon somebody else's.
    "127.0.0.1:1".to_owned()
}

#[test]
fn an_answer_is_up_and_its_time_is_measured() {
    let health = ask_one(http(status("200 OK", "all is well")));
    assert_eq!((health.up.known(), health.probes[0].ok), (Some(&true), Some(true)));
    assert!(health.response_ms.known().is_some_and(|ms| *ms > 0.0));
    assert_eq!(verdict(&health), (Verdict::Yes, None));
    assert_eq!(ask_one(http(status("302 Found", ""))).up.known(), Some(&true), "a redirect is an answer");
    let long = "x".repeat(3 << 20);
    assert_eq!(ask_one(http(status("200 OK", &long))).up.known(), Some(&true), "a long body is not read");
}

#[test]
fn an_answer_with_a_body_is_understood() {
    let body = r#"{"ecosystem_state":"running","overall_health":"unhealthy","response_ms":118,"modules":{"core":{"status":"integrated","run_count":9,"error_count":0},"planner":{"status":"failed","error_count":4}}}"#;
    let health = ask_one(http(status("200 OK", body)));
    assert_eq!(health.up.known(), Some(&true));
    assert_eq!(health.response_ms, Reading::Known(118.0));
    assert_eq!(health.modules["planner"], Reading::Known("failed".into()));
    assert_eq!((health.probes[0].ok, error(&health)), (Some(false), "it calls itself unhealthy"));
    assert_eq!(verdict(&health), (Verdict::No, Some("module planner failed".into())));
}

#[test]
fn an_error_status_is_not_up_and_its_body_still_counts() {
    let health = ask_one(http(status("503 Service Unavailable", r#"{"up":true,"modules":{"a":"failed"},"integrity":false}"#)));
    assert_eq!((health.up.known(), error(&health)), (Some(&false), "it answered with status 503"));
    assert_eq!((health.modules.len(), health.integrity.known()), (1, Some(&false)));
    let health = ask_one(http(status("200 OK", r#"{"ecosystem_state":"shutdown"}"#)));
    assert_eq!((health.up.known(), error(&health)), (Some(&false), "it says that it is not up"));
}

#[test]
fn nobody_there_and_no_answer_are_not_up() {
    let health = ask_one(Probe::Http { url: format!("http://{}/", refused()), says: None, timeout: None });
    assert_eq!((health.up.known(), error(&health)), (Some(&false), "connection refused"));
    let health = ask_one(http(None));
    assert_eq!((health.up.known(), error(&health)), (Some(&false), "no answer within 400ms"));
    assert_eq!(health.response_ms.known(), None);
    let health = ask_one(http(Some("SSH-2.0-OpenSSH_9.9\r\n\r\n".into())));
    assert_eq!(health.up.known(), Some(&false), "{health:?}");
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"up\":".to_owned();
    assert_eq!(ask_one(http(Some(half))).up.known(), Some(&false), "an answer that breaks off");
}

#[test]
fn a_question_that_cannot_be_asked_says_nothing_about_the_service() {
    for url in ["https://127.0.0.1/", "127.0.0.1:8080/health", "ftp://x", "http://", "http://a b/"] {
        let health = ask_one(Probe::Http { url: url.into(), says: None, timeout: None });
        assert!(health.up.is_absent() && health.probes[0].ok.is_none(), "{url}: {health:?}");
        assert!(health.error.as_ref().unwrap().starts_with(&format!("http {url}: ")), "{url}");
        assert_eq!(verdict(&health).0, Verdict::Unknown);
    }
    assert!(ask_one(command(&["bin/none"])).error.unwrap().contains("no such program"));
    assert!(ask_one(Probe::Tcp { address: "localhost".into(), timeout: None }).error.unwrap().contains("not an address"));
}

#[test]
fn a_password_stays_out_of_the_records() {
    let name = |url: &str| Probe::Http { url: url.into(), says: None, timeout: None }.name();
    assert_eq!(name("http://admin:s3cret@127.0.0.1:8080/health?for=a@b"), "http http://127.0.0.1:8080/health?for=a@b");
    assert_eq!(name("http://127.0.0.1:8080"), "http http://127.0.0.1:8080");
}

#[test]
fn a_port_takes_connections_or_not() {
    let tcp = |address: String| Probe::Tcp { address, timeout: Some("400ms".parse().unwrap()) };
    assert_eq!(ask_one(tcp(server(None))).up.known(), Some(&true), "it is not asked to say anything");
    let health = ask_one(tcp(refused()));
    assert_eq!((health.up.known(), error(&health)), (Some(&false), "connection refused"));
}

#[test]
fn a_command_says_it_with_json_or_with_its_exit_code() {
    let sh = |script: &str| ask_one(command(&["sh", "-c", script]));
    assert_eq!(sh("exit 0").up.known(), Some(&true));
    let health = sh("echo broken; exit 2");
    assert_eq!((health.up.known(), error(&health)), (Some(&false), "sh ended with 2"));
    let health = sh(r#"echo '{"ecosystem_state":"running","modules":{"a":{"status":"degraded"}}}'; exit 1"#);
    assert_eq!((health.up.known(), health.probes[0].ok), (Some(&true), Some(false)), "the body says more than the code");
    let health = sh("kill -9 $$");
    assert!(health.up.is_absent() && error(&health).contains("signal 9"), "a probe that breaks says nothing");
}

#[test]
fn one_that_hangs_delays_the_others_only_until_its_timeout() {
    let began = Instant::now();
    let hanging = Probe::Command {
        command: vec!["sh".into(), "-c".into(), "trap '' TERM; sleep 30".into()],
        says: None,
        timeout: Some("300ms".parse().unwrap()),
    };
    let health = ask_in(Path::new("/"), &[hanging, http(status("200 OK", "")), http(None)]);
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(health.probes.iter().map(|probe| probe.ok).collect::<Vec<_>>(), [Some(false), Some(true), Some(false)]);
    assert!(error(&health).contains("longer than 300ms"));
}

#[test]
fn a_file_must_be_there_and_young() {
    let folder = tempfile::tempdir().unwrap();
    let beat = || Probe::File { path: "beat".into(), max_age: Some("60s".parse().unwrap()) };
    assert_eq!(error(&ask_in(folder.path(), &[beat()])), "it is not there");
    let file = fs::File::create(folder.path().join("beat")).unwrap();
    assert_eq!(ask_in(folder.path(), &[beat()]).up.known(), Some(&true));
    file.set_modified(SystemTime::now() - Duration::from_secs(120)).unwrap();
    let health = ask_in(folder.path(), &[beat()]);
    assert_eq!((health.up.known(), error(&health)), (Some(&false), "it was written 2m ago, which is more than 1m"));
}

#[test]
fn a_file_with_json_speaks_like_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let said = |text: &str| {
        fs::write(folder.path().join("status.json"), text).unwrap();
        ask_in(folder.path(), &[Probe::Json { path: "status.json".into(), max_age: None }])
    };
    assert_eq!(said(r#"{"up":false}"#).up.known(), Some(&false));
    assert_eq!(said(r#"{"ecosystem_state":"running","integration":true}"#).integration.known(), Some(&true));
    let torn = said(r#"{"up":tr"#);
    assert!(torn.up.is_absent() && torn.error.is_some(), "half a file is no news");
}

fn sqlite(root: &Path) -> Health {
    ask_in(root, &[Probe::Sqlite { path: "a.db".into(), timeout: None }])
}

#[test]
fn a_database_is_sound_or_its_data_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let missing = sqlite(folder.path());
    assert_eq!((missing.integrity.known(), error(&missing)), (Some(&false), "the database is not there"));

    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch("BEGIN; CREATE TABLE t(x); CREATE INDEX i ON t(x);").unwrap();
    for number in 0..2000 {
        database.execute("INSERT INTO t VALUES (?1 || 'some text that fills pages')", [number]).unwrap();
    }
    database.execute_batch("COMMIT").unwrap();
    let sound = sqlite(folder.path());
    assert_eq!((sound.integrity.known(), sound.up.is_absent(), verdict(&sound).0), (Some(&true), true, Verdict::Yes), "{sound:?}");

    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(sqlite(folder.path()).integrity.known(), Some(&true), "a writer does not hinder a reader");
    database.execute_batch("ROLLBACK").unwrap();
    drop(database);

    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0xde);
    fs::write(&path, &bytes).unwrap();
    let damaged = sqlite(folder.path());
    assert_eq!((damaged.integrity.known(), verdict(&damaged).0), (Some(&false), Verdict::No), "{damaged:?}");

    fs::write(&path, "not a database, but long enough to look like one at first sight".repeat(20)).unwrap();
    assert_eq!(error(&sqlite(folder.path())), "the file is not a database");
    fs::write(&path, "").unwrap();
    assert_eq!(error(&sqlite(folder.path())), "the database is an empty file");
}

#[test]
fn one_no_outweighs_everything_and_not_known_outweighs_yes() {
    let (yes, no, unknown) = (|| command(&["true"]), || command(&["false"]), || command(&["bin/none"]));
    let up = |probes: &[Probe]| {
        let health = ask_in(Path::new("/"), probes);
        (health.up.known().copied(), verdict(&health).0)
    };
    assert_eq!(up(&[yes(), yes()]), (Some(true), Verdict::Yes));
    assert_eq!(up(&[unknown(), yes(), no()]), (Some(false), Verdict::No));
    assert_eq!(up(&[yes(), unknown()]), (None, Verdict::Unknown));
    assert_eq!(up(&[]), (None, Verdict::Unknown));
}

#[test]
fn of_two_words_the_worse_counts_and_of_two_numbers_the_first() {
    let said = |body: &str| command(&["printf", "%s", body]);
    let health = ask_in(
        Path::new("/"),
        &[
            said(r#"{"up":true,"error_rate":0.01,"integrity":true,"modules":{"a":"ok","b":"failed"}}"#),
            said(r#"{"up":true,"error_rate":0.5,"requests":7,"integrity":false,"modules":{"a":"degraded","b":"ok","c":"ok"}}"#),
        ],
    );
    assert_eq!((health.error_rate.known(), health.requests.known(), health.integrity.known()), (Some(&0.01), Some(&7.0), Some(&false)));
    let states: Vec<_> = health.modules.values().map(|state| state.known().unwrap().as_str()).collect();
    assert_eq!(states, ["degraded", "failed", "ok"]);
}

#[test]
fn errors_that_pile_up_between_samples_degrade_a_module() {
    let mut history = History::default();
    let mut sample = |errors: u32| {
        let body = format!(r#"{{"ecosystem_state":"running","modules":{{"a":{{"status":"integrated","error_count":{errors}}}}}}}"#);
        check(&[command(&["printf", "%s", &body])], &service(Path::new("/")), now(), &mut history).modules["a"].clone()
    };
    assert_eq!(sample(1000), Reading::Known("ok".into()));
    assert_eq!(sample(1010), Reading::Known("ok".into()));
    assert_eq!(sample(1011), Reading::Known("degraded".into()));
}

#[test]
fn a_sample_is_judged() {
    let judged = |json: &str| {
        let health: Health = serde_json::from_str(json).unwrap();
        verdict(&health)
    };
    use Verdict::{No, Unknown, Yes};
    for (json, expected) in [
        (r#"{"up":true}"#, Yes),
        (r#"{"up":false}"#, No),
        (r#"{"up":null}"#, Unknown),
        (r#"{}"#, Unknown),
        (r#"{"up":"yes"}"#, Unknown),
        (r#"{"up":true,"modules":{"a":"ok","b":"asleep"}}"#, Yes),
        (r#"{"up":true,"modules":{"a":"degraded"}}"#, No),
        (r#"{"up":null,"modules":{"a":"failed"}}"#, No),
        (r#"{"up":true,"integrity":false}"#, No),
        (r#"{"up":true,"integration":false}"#, No),
        (r#"{"up":true,"integrity":null}"#, Yes),
        (r#"{"up":true,"error_rate":0.049}"#, Yes),
        (r#"{"up":true,"error_rate":0.05}"#, No),
        (r#"{"up":true,"error_rate":0.5,"requests":3}"#, Yes),
        (r#"{"up":true,"error_rate":0.5,"requests":20}"#, No),
        (r#"{"up":true,"success_rate":0.94}"#, No),
        (r#"{"up":true,"error_rate":85}"#, Yes),
        (r#"{"up":true,"cpu_usage":0.99,"response_ms":9000}"#, Yes),
        (r#"{"up":true,"probes":[{"probe":"p","ok":false,"took_ms":1}]}"#, No),
        (r#"{"up":true,"probes":[{"probe":"p","took_ms":1}]}"#, Unknown),
    ] {
        assert_eq!(judged(json).0, expected, "{json}");
    }
    assert_eq!(judged(r#"{"up":true,"error_rate":0.31}"#).1.unwrap(), "31.0 % of the requests fail");
}

#[test]
fn waiting_ends_when_it_is_well_or_when_the_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let (path, root) = (folder.path().join("ready"), folder.path().to_owned());
    let probe = [Probe::File { path: "ready".into(), max_age: None }];
    let began = Instant::now();
    let (_, verdict, why) = wait(&probe, &service(&root), Duration::from_millis(300), now, || false);
    assert_eq!((verdict, why.unwrap().as_str()), (Verdict::No, "it is not up: file ready: it is not there"));
    assert!(began.elapsed() < Duration::from_secs(2));

    let writer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        fs::write(path, "").unwrap();
    });
    let (health, verdict, _) = wait(&probe, &service(&root), Duration::from_secs(20), now, || false);
    assert_eq!((health.up.known(), verdict), (Some(&true), Verdict::Yes));
    writer.join().unwrap();
    let stopped = wait(&[], &service(&root), Duration::from_secs(20), now, || true);
    assert_eq!(stopped.1, Verdict::Unknown);
}

#[test]
fn a_busy_process_shows_in_the_shares_of_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    fs::write(folder.path().join("pid"), child.id().to_string()).unwrap();
    let control = Control { pidfile: Some("pid".into()), ..Control::default() };
    let (service, mut history, began) = (Service::new(folder.path(), &control, &Units::default()), History::default(), Instant::now());
    let mut health = check(&[], &service, now(), &mut history);
    // On a crowded machine it may have to wait for its first turn.
    while health.cpu_usage.known() == Some(&0.0) && began.elapsed() < Duration::from_secs(10) {
        health = check(&[], &service, now(), &mut history);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(health.up.known(), Some(&true), "the process is asked for where nothing else is configured");
    assert!(health.cpu_usage.known().is_some_and(|share| *share > 0.0 && *share <= 1.0), "{health:?}");
    assert!(health.memory_usage.known().is_some_and(|share| *share >= 0.0 && *share < 0.5), "{health:?}");
}

/// What a probe with these keys says in `root`: up, whether it is content, and its sentence.
fn said(root: &Path, probe: &str) -> (Option<bool>, Option<bool>, String) {
    let probe: Probe = toml::from_str(probe).unwrap_or_else(|e| panic!("{probe}: {e}"));
    let health = ask_in(root, &[probe]);
    if health.up.known().is_none() && health.probes[0].ok.is_none() {
        assert!(health.error.is_some(), "up is null, and nobody says why: {health:?}");
    }
    (health.up.known().copied(), health.probes[0].ok, error(&health).to_owned())
}

#[test]
fn not_up_and_not_known_are_told_apart_for_every_kind_and_cause() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let file = |name: &str, text: &str| fs::write(root.join(name), text).unwrap();
    let serve = |line: &str, body: &str| server(status(line, body));
    let http = |address: &str| format!("kind = 'http'\nurl = 'http://{address}/'\ntimeout = '400ms'");
    let tcp = |address: &str| format!("kind = 'tcp'\naddress = '{address}'\ntimeout = '400ms'");
    let run = |script: &str| format!("kind = 'command'\ncommand = ['sh', '-c', '''{script}''']\ntimeout = '400ms'");
    let of = |kind: &str, name: &str| format!("kind = '{kind}'\npath = '{name}'\n");
    let old = |kind: &str, name: &str| of(kind, name) + "max_age = '60s'";
    file("plain", "no program");
    file("broken.json", r#"{"up":tr"#);
    file("empty", "");
    file("old", r#"{"up":true}"#);
    fs::File::open(root.join("old")).unwrap().set_modified(SystemTime::now() - Duration::from_secs(120)).unwrap();
    fs::create_dir(root.join("folder")).unwrap();
    std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(root.join("pipe")).status().unwrap().success());
    file("bad.db", &"not a database, but long enough to look like one at first sight".repeat(20));
    let locked = rusqlite::Connection::open(root.join("locked.db")).unwrap();
    locked.execute_batch("CREATE TABLE t(x); BEGIN EXCLUSIVE").unwrap();
    let (yes, no, unknown) = (Some(true), Some(false), None);
    for (probe, up, ok, why) in [
        (http(&serve("200 OK", "")), yes, yes, ""),
        (http(&serve("204 No Content", "")), yes, yes, ""),
        (http(&serve("200 OK", r#"{"up":tr"#)), yes, yes, ""),
        (http(&serve("200 OK", r#"{"up":null}"#)), unknown, unknown, "cannot tell whether it is up"),
        (http(&serve("400 Bad Request", "")), no, no, "it answered with status 400"),
        (http(&serve("404 Not Found", "")), no, no, "it answered with status 404"),
        (http(&serve("503 Unavailable", "")), no, no, "it answered with status 503"),
        (http(&refused()), no, no, "connection refused"),
        (http(&server(None)), no, no, "no answer within 400ms"),
        (http("eco-tools.invalid"), unknown, unknown, "the name of the host "),
        (http("a b"), unknown, unknown, ""),
        ("kind = 'http'\nurl = 'https://127.0.0.1/'".into(), unknown, unknown, "https is not spoken here"),
        ("kind = 'http'\nurl = '127.0.0.1/'".into(), unknown, unknown, "is not an address that begins with http://"),
        (tcp(&server(None)), yes, yes, ""),
        (tcp(&refused()), no, no, "connection refused"),
        (tcp("eco-tools.invalid:80"), unknown, unknown, ""),
        (tcp("127.0.0.1"), unknown, unknown, "is not an address such as 127.0.0.1:8080"),
        (run("exit 0"), yes, yes, ""),
        (run(r#"echo '{"up":tr'"#), yes, yes, ""),
        (run("exit 3"), no, no, "sh ended with 3"),
        (run("sleep 9"), no, no, "sh took longer than 400ms and was ended"),
        (run("kill -9 $$"), unknown, unknown, "sh was ended by signal 9"),
        ("kind = 'command'\ncommand = ['bin/none']".into(), unknown, unknown, "cannot run bin/none: no such program"),
        ("kind = 'command'\ncommand = ['./plain']".into(), unknown, unknown, "cannot run ./plain: permission denied"),
        ("kind = 'command'\ncommand = []".into(), unknown, unknown, "the command is empty"),
        (old("file", "none"), no, no, "it is not there"),
        (old("file", "old"), no, no, "which is more than 1m"),
        (of("file", "pipe"), yes, yes, ""),
        (of("file", "loop"), unknown, unknown, "it cannot be read: "),
        (old("json", "none"), no, no, "it is not there"),
        (old("json", "old"), no, no, "which is more than 1m"),
        (of("json", "old"), yes, yes, ""),
        (of("json", "broken.json"), unknown, unknown, "it holds no JSON about health"),
        (of("json", "empty"), unknown, unknown, "it holds no JSON about health"),
        (of("json", "pipe"), unknown, unknown, "it is not a file"),
        (of("json", "folder"), unknown, unknown, "it is not a file"),
        (of("sqlite", "none"), unknown, no, "the database is not there"),
        (of("sqlite", "empty"), unknown, no, "the database is an empty file"),
        (of("sqlite", "bad.db"), unknown, no, "the file is not a database"),
        (of("sqlite", "locked.db") + "timeout = '200ms'", unknown, unknown, "the database cannot be checked: database is locked"),
        (of("sqlite", "pipe"), unknown, unknown, "the database is not a file"),
        (of("sqlite", "loop"), unknown, unknown, "the database cannot be read: "),
        (of("log", "none") + "error = 'E'", unknown, unknown, "the log is not there"),
        (of("log", "pipe") + "error = 'E'", unknown, unknown, "the log is not a file"),
        (of("log", "loop") + "error = 'E'", unknown, unknown, "the log cannot be read: "),
        (of("log", "plain") + "error = 'E'", unknown, unknown, "a first look has nothing to count from"),
        ("kind = 'process'".into(), unknown, unknown, "[control] has no pidfile"),
        ("kind = 'snapshot'\nmax_age = '1d'".into(), unknown, unknown, "there is no store"),
    ] {
        let began = Instant::now();
        let seen = said(root, &probe);
        assert_eq!((seen.0, seen.1), (up, ok), "{probe}: {}", seen.2);
        assert!(seen.2.contains(why), "{probe}: {}", seen.2);
        assert!(began.elapsed() < Duration::from_secs(8), "{probe} took {:?}", began.elapsed());
    }
}

#[test]
fn what_keeps_prometheus_from_answering_says_nothing_about_the_service() {
    let number =
        |value: &str| format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[1,"{value}"]}}]}}}}"#);
    let empty = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    let of = |address: &str, metric: &str| {
        let probe = format!("kind = 'prometheus'\nurl = 'http://{address}/'\nquery = 'up{{job=\"shop\"}}'\nmetric = '{metric}'\ntimeout = '400ms'");
        said(Path::new("/"), &probe)
    };
    let serve = |body: &str| server(status("200 OK", body));
    for metric in ["up", "error_rate", "response_ms", "integrity"] {
        for (address, why) in [
            (refused(), "prometheus cannot be asked: connection refused"),
            (server(None), "prometheus cannot be asked: no answer within 400ms"),
            (server(Some("SSH-2.0-OpenSSH_9.9\r\n\r\n".into())), "prometheus cannot be asked: "),
            ("eco-tools.invalid".into(), "prometheus cannot be asked: the name of the host "),
            (server(status("500 Internal Server Error", "oops")), "prometheus answered with status 500"),
            (server(status("400 Bad Request", r#"{"status":"error","error":"parse error"}"#)), "prometheus refuses the query: parse error"),
            (serve(empty), "the query gives nothing"),
            (serve(&number("NaN")), "the query gives NaN"),
            (serve("<html>"), "is no prometheus"),
            (serve(&"x".repeat(3 << 20)), "too long an answer"),
        ] {
            let (up, ok, error) = of(&address, metric);
            assert_eq!((up, ok), (None, None), "{metric}: {error}");
            assert!(error.contains(why), "{metric}: {error}");
        }
    }
    assert_eq!(of(&serve(&number("1")), "up").0, Some(true));
    assert_eq!(of(&serve(&number("0")), "up"), (Some(false), Some(false), "the query gives 0".into()));
    assert_eq!(of(&serve(&number("0.2")), "error_rate"), (None, Some(true), String::new()));
    assert_eq!(of(&serve(&number("85")), "error_rate").1, None, "a percentage is a mistake and no outage");
}

#[test]
fn prometheus_is_asked_with_its_token_and_nobody_else_sees_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
            head.push(byte[0]);
        }
        let body = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"0.118"]}}"#;
        stream.write_all(status("200 OK", body).unwrap().as_bytes()).unwrap();
        String::from_utf8(head).unwrap()
    });
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "s3cret\n").unwrap();
    let probe = format!(
        "kind = 'prometheus'\nurl = 'http://{address}/prefix/'\nquery = 'p95{{job=\"a&b\"}}'\nmetric = 'response_ms'\nscale = 1000\ntoken_file = 'token'"
    );
    let health = ask_in(folder.path(), &[toml::from_str(&probe).unwrap()]);
    let head = server.join().unwrap();
    assert_eq!(health.response_ms, Reading::Known(118.0), "{health:?}");
    assert!(head.starts_with("GET /prefix/api/v1/query?query=p95") && head.contains("a%26b") && head.contains("&timeout=5000ms "), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer s3cret\r\n"), "{head}");
    assert!(!serde_json::to_string(&health).unwrap().contains("s3cret"), "{health:?}");
    assert_eq!(health.probes[0].probe, format!("prometheus response_ms http://{address}/prefix/"));
}

#[test]
fn a_test_of_one_thing_says_true_or_false_or_does_not_know() {
    let of = |probe: &str, says: &str| {
        let probe: Probe = toml::from_str(&format!("{probe}\nas = '{says}'\ntimeout = '400ms'")).unwrap();
        let health = ask_in(Path::new("/"), &[probe]);
        assert!(health.up.is_absent(), "it leaves up alone: {health:?}");
        let value = if says == "integrity" { &health.integrity } else { &health.integration };
        let other = if says == "integrity" { &health.integration } else { &health.integrity };
        assert!(other.is_absent());
        (value.known().copied(), health.probes[0].ok, verdict(&health).0)
    };
    let run = |script: &str| format!("kind = 'command'\ncommand = ['sh', '-c', '{script}']");
    let http = |address: &str| format!("kind = 'http'\nurl = 'http://{address}/'");
    let (passed, failed, open) = ((Some(true), Some(true), Verdict::Yes), (Some(false), Some(false), Verdict::No), (None, None, Verdict::Unknown));
    for says in ["integration", "integrity"] {
        assert_eq!(of(&run("exit 0"), says), passed);
        assert_eq!(of(&run("exit 1"), says), failed);
        assert_eq!(of(&http(&server(status("200 OK", ""))), says), passed);
        assert_eq!(of(&http(&server(status("500 Internal Server Error", ""))), says), failed);
        assert_eq!(of(&http(&server(status("302 Found", ""))), says), failed, "a login page has tested nothing");
        // A service that is down or slow has no bad data, for which a rollback would be the answer.
        for probe in [run("sleep 9"), run("kill -9 $$"), "kind = 'command'\ncommand = ['bin/none']".into(), http(&refused()), http(&server(None))] {
            assert_eq!(of(&probe, says), open, "{probe}");
        }
    }
    assert!(toml::from_str::<Probe>("kind = 'tcp'\naddress = 'a:1'\nas = 'integrity'").is_err());
}

#[test]
fn a_process_runs_or_does_not_or_cannot_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control { pidfile: Some("pid".into()), ..Control::default() };
    let service = Service::new(folder.path(), &control, &Units::default());
    let up = |text: Option<&str>| {
        let path = folder.path().join("pid");
        let _ = fs::remove_file(&path);
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        check(&[Probe::Process {}], &service, now(), &mut History::default()).up.known().copied()
    };
    assert_eq!(up(None), Some(false), "no pid file: it was stopped");
    let own = std::process::id().to_string();
    assert_eq!(up(Some(&own)), Some(true));
    assert_eq!(up(Some("no number")), None);
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    let number = gone.id().to_string();
    gone.wait().unwrap();
    assert_eq!(up(Some(&number)), Some(false), "a stale number");
    // A process that began long after its pid file was written is another one.
    fs::write(folder.path().join("pid"), &own).unwrap();
    fs::File::open(folder.path().join("pid")).unwrap().set_modified(SystemTime::now() - Duration::from_secs(86_400)).unwrap();
    assert_eq!(check(&[Probe::Process {}], &service, now(), &mut History::default()).up.known(), Some(&false));
    // Somebody else's pid file for somebody else's process is not believed.
    if rustix::process::geteuid().is_root() {
        let path = folder.path().join("pid");
        fs::write(&path, &own).unwrap();
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        assert_eq!(check(&[Probe::Process {}], &service, now(), &mut History::default()).up.known(), None);
    }
}

#[test]
fn after_a_start_nobody_is_asked_about_the_time_before() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    fs::write(root.join("app.log"), format!("{} ERROR\n", now()).repeat(100)).unwrap();
    let probes: Vec<Probe> = [
        "kind = 'command'\ncommand = ['true']".to_owned(),
        "kind = 'log'\npath = 'app.log'\nerror = 'ERROR'\ntime = 'rfc3339'".into(),
        format!("kind = 'prometheus'\nurl = 'http://{}'\nquery = 'x'\nmetric = 'error_rate'", refused()),
        "kind = 'snapshot'\nmax_age = '1d'".into(),
    ]
    .iter()
    .map(|text| toml::from_str(text).unwrap())
    .collect();
    let once = ask_in(&root, &probes);
    assert_eq!((once.error_rate.known(), verdict(&once).0, once.probes.len()), (Some(&1.0), Verdict::No, 4), "{once:?}");
    let (health, verdict, why) = wait(&probes, &service(&root), Duration::from_secs(5), now, || false);
    assert_eq!((verdict, health.requests.known(), health.probes.len()), (Verdict::Yes, Some(&0.0), 2), "{why:?}");
    let (health, verdict, _) = wait(&probes[2..], &service(&root), Duration::ZERO, now, || false);
    assert!(verdict == Verdict::Unknown && health.error.unwrap().starts_with("nothing to ask while waiting"));
}

#[test]
fn an_old_snapshot_makes_no_snapshot_bad() {
    let mut health: Health = serde_json::from_str(r#"{"up":true,"probes":[{"probe":"snapshot latest good","ok":false,"took_ms":1,"error":"the newest good snapshot is 31h old, which is more than 1d"}]}"#).unwrap();
    assert_eq!((verdict(&health).0, word(&health)), (Verdict::No, "ok"));
    health.probes[0].probe = "file beat".into();
    assert_eq!(word(&health), "failed");
}

#[test]
fn the_load_of_the_machine_is_reported_where_nobody_knows_the_processes() {
    let mut history = History::default();
    let probe = [command(&["sleep", "0.2"])];
    let health = check(&probe, &service(Path::new("/")), now(), &mut history);
    let share = |value: &Reading<f64>| value.known().is_some_and(|share| (0.0..=1.0).contains(share));
    assert!(share(&health.cpu_usage) && share(&health.memory_usage), "{health:?}");
    thread::sleep(Duration::from_millis(200));
    let quick = check(&[command(&["true"])], &service(Path::new("/")), now(), &mut history);
    assert!(share(&quick.cpu_usage), "since the last sample: {quick:?}");
    let said = command(&["printf", "%s", r#"{"up":true,"memory_usage":0.123}"#]);
    assert_eq!(ask_one(said).memory_usage, Reading::Known(0.123), "what a probe says comes first");
}

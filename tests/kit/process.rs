//! Running `daybook` processes.

use std::{
    fs,
    io::{BufRead, BufReader, Write as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use reqwest::Method;

use crate::{
    api::Api,
    locks::Locked,
    services::{self, Folder},
};

/// Which adapters a server runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Embedded log and tables.
    Embedded,
    /// Kafka and PostgreSQL.
    Distributed,
}

/// Lines of a process's log that a failure shows.
const LINES_SHOWN: usize = 60;
/// The exit code of a command that a service does not answer in time.
const UNAVAILABLE: i32 = 7;
/// How often the log is read, at most, until it is.
const READS: usize = 20;

/// The program under test.
const DAYBOOK: &str = "daybook";

/// The binary under test, which `tests/run` builds first.
///
/// # Panics
/// If it is not there.
pub fn binary() -> PathBuf {
    binary_of(DAYBOOK)
}

fn binary_of(program: &str) -> PathBuf {
    let of_test = std::env::current_exe().unwrap_or_default();
    let folder = of_test.ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    let path = folder.join(program);
    assert!(path.exists(), "{} is not there: run cargo build first, as tests/run does", path.display());
    path
}

/// Takes the variables of the tests themselves away: a command would warn that they are no settings.
fn without_settings(command: &mut Command) -> &mut Command {
    let names = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("DAYBOOK_"));
    names.fold(command, |command, name| command.env_remove(name))
}

/// Runs the binary to its end.
///
/// # Panics
/// If it cannot be started.
pub fn run(arguments: &[&str]) -> Output {
    run_program(DAYBOOK, arguments)
}

fn run_program(program: &str, arguments: &[&str]) -> Output {
    let output = without_settings(&mut Command::new(binary_of(program))).args(arguments).stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("cannot run {program} {arguments:?}: {error}"))
}

/// Runs the binary to its end on a terminal; whether it ended well, and what it printed.
///
/// # Panics
/// If it cannot be started.
pub fn run_on_terminal(arguments: &[&str]) -> (bool, String) {
    let quote = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let binary = binary().display().to_string();
    let line: Vec<_> = [binary.as_str()].into_iter().chain(arguments.iter().copied()).map(quote).collect();
    // From Debian's essential package bsdutils: it gives the command a terminal of its own.
    let mut command = Command::new("script");
    command.args(["-qec", &line.join(" "), "/dev/null"]).stdin(Stdio::null());
    let output = without_settings(&mut command).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run daybook {arguments:?} on a terminal: {error}"));
    (output.status.success(), String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n"))
}

/// Where a server keeps its log and tables; several servers may share it.
pub struct Place {
    /// Which adapters.
    pub backend: Backend,
    /// The data directory.
    pub folder: Folder,
    name: String,
    /// The broker and the server that it uses.
    urls: (String, String),
    /// The Elasticsearch that it uses, if any.
    search: Option<String>,
    /// The program that works on it.
    program: &'static str,
}

impl Place {
    /// A place of its own for a test.
    pub fn new(test: &str, backend: Backend) -> Self {
        let urls = match backend {
            Backend::Embedded => Default::default(),
            Backend::Distributed => (services::kafka(), services::postgres()),
        };
        let search = (backend == Backend::Distributed).then(services::elasticsearch);
        Self { backend, folder: Folder::new(test), name: services::unique(test), urls, search, program: DAYBOOK }
    }

    /// A place of its own on another broker and server than the tests share. Without an address of tables, the process
    /// gets it another way.
    pub fn on(test: &str, kafka: &str, postgres: &str) -> Self {
        let (name, urls) = (services::unique(test), (kafka.to_owned(), postgres.to_owned()));
        let search = Some(services::elasticsearch());
        Self { backend: Backend::Distributed, folder: Folder::new(test), name, urls, search, program: DAYBOOK }
    }

    /// The same place, reached another way.
    pub fn through(&self, kafka: &str, postgres: &str) -> Self {
        let urls = (kafka.to_owned(), postgres.to_owned());
        let (folder, name, search) = (Folder::new(&self.name), self.name.clone(), self.search.clone());
        Self { backend: self.backend, folder, name, urls, search, program: self.program }
    }

    /// An embedded place in a folder that is there.
    pub fn in_folder(folder: Folder) -> Self {
        let (name, urls) = (services::unique("folder"), Default::default());
        Self { backend: Backend::Embedded, folder, name, urls, search: None, program: DAYBOOK }
    }

    /// The options that make a process work on this place.
    pub fn options(&self) -> Vec<String> {
        match self.backend {
            Backend::Embedded => vec!["--data-dir".into(), self.folder.0.display().to_string()],
            Backend::Distributed => {
                // More partitions than any test has instances, so that each instance has some.
                let (log, tables) = (format!("{}/{}?partitions=4", self.urls.0, self.name), self.urls.1.clone());
                let schema = self.name.clone();
                let search = self.search.as_ref().map_or("off".to_owned(), |url| format!("{url}/{}", self.name));
                let options = ["--log", &log, "--tables", &tables, "--tables-schema", &schema, "--search", &search];
                // An empty address of tables is given by other means than an option.
                let pairs = options.chunks(2).filter(|pair| pair.last().is_some_and(|value| !value.is_empty()));
                pairs.flatten().map(|text| (*text).to_owned()).collect()
            }
        }
    }

    /// Where its tables are on PostgreSQL: the server, and the schema of control storage.
    pub fn tables(&self) -> (&str, &str) {
        (&self.urls.1, &self.name)
    }

    /// What generations of the domains that tests rebuild have left: embedded, files of tables and folders of indexes; else schemas and indexes. Of the live
    /// generation, too.
    ///
    /// # Panics
    /// If it cannot be listed.
    pub async fn parts(&self) -> Vec<String> {
        let mut parts = Vec::new();
        if self.backend == Backend::Embedded {
            for folder in [self.folder.0.clone(), self.folder.0.join("search")] {
                let files = fs::read_dir(&folder).into_iter().flatten().flatten();
                parts.extend(files.map(|file| file.file_name().to_string_lossy().into_owned()));
            }
        } else {
            let schemas = format!("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, '{}')", self.name);
            parts.extend(services::sql(&self.urls.1, &schemas).lines().map(str::to_owned));
            if let Some(url) = &self.search {
                let answer = Api::new(url).get(&format!("/_cat/indices/{}*?h=index", self.name)).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                parts.extend(answer.text.lines().map(str::to_owned));
            }
        }
        parts.retain(|part| part.contains("_g0") && !part.contains("catalogue"));
        parts
    }

    /// Where its log is on Kafka: the broker, and the prefix of the topics.
    pub fn topics(&self) -> (&str, &str) {
        (self.urls.0.trim_start_matches("kafka://"), &self.name)
    }

    /// The same place with another Elasticsearch, or with none.
    #[must_use]
    pub fn with_search(self, url: Option<String>) -> Self {
        Self { search: url, ..self }
    }

    /// The same place with another program, made of the same parts.
    #[must_use]
    pub fn with_program(self, program: &'static str) -> Self {
        Self { program, ..self }
    }

    /// Deletes the search index, as somebody might by hand; an embedded one while no process runs.
    ///
    /// # Panics
    /// If it is not there.
    pub async fn delete_index(&self) {
        match &self.search {
            None => {
                let folder = self.folder.0.join("search");
                fs::remove_dir_all(&folder)
                    .unwrap_or_else(|error| panic!("cannot remove {}: {error}", folder.display()));
            }
            Some(url) => {
                let answer = Api::new(url).send(Method::DELETE, &self.index(), None, &[]).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
            }
        }
    }

    /// The path of its index on Elasticsearch: schemas, and so indexes, are named after the place.
    pub fn index(&self) -> String {
        format!("/{0}-{0}_metaflow_g0001", self.name)
    }

    /// Locks its tasks on PostgreSQL: they can be read and not written.
    pub fn lock(&self) -> Locked {
        Locked::take(&self.urls.1, &format!("{}_metaflow_g0001", self.name))
    }

    /// Runs a statement in a generation's tables, as in `metaflow_g0001`, or in `control` storage.
    ///
    /// # Panics
    /// If it fails.
    pub fn alter(&self, schema: &str, statement: &str) {
        if self.backend == Backend::Distributed {
            let schema = if schema == "control" { self.name.clone() } else { format!("{}_{schema}", self.name) };
            services::sql(&self.urls.1, &format!("SET search_path TO {schema}; {statement}"));
            return;
        }
        let program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], 60); c.execute(sys.argv[2]); c.commit()";
        let file = self.folder.0.join(format!("{schema}.db"));
        let done = Command::new("python3").args(["-c", program]).arg(file).arg(statement).output();
        let done = done.unwrap_or_else(|error| panic!("cannot run python3: {error}"));
        assert!(done.status.success(), "{statement}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Bytes that its tables take; embedded, its log too.
    ///
    /// # Panics
    /// If PostgreSQL does not tell.
    pub fn stored_bytes(&self) -> u64 {
        if self.backend == Backend::Embedded {
            let files = fs::read_dir(&self.folder.0).into_iter().flatten().flatten();
            return files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum();
        }
        let sizes = "SELECT sum(pg_total_relation_size(pg_class.oid)) FROM pg_class \
            JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE relkind = 'r' AND starts_with(nspname, :'schema')";
        let mut psql = Command::new("psql");
        psql.args([&self.urls.1, "-At", "-v", &format!("schema={}", self.name)]);
        let spawned = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut psql = spawned.unwrap_or_else(|error| panic!("cannot run psql: {error}"));
        // Variables are replaced in what is read, not in what is given as an argument.
        let written = psql.stdin.take().map(|mut stdin| stdin.write_all(sizes.as_bytes()));
        let output = psql.wait_with_output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let bytes = output.as_ref().ok().and_then(|text| text.trim().parse().ok());
        bytes.unwrap_or_else(|| panic!("no size from psql: {written:?}, {output:?}"))
    }

    /// Runs a command that opens the log, to its end.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let options = self.options();
        let of_log: Vec<&str> = options.iter().take(2).map(String::as_str).collect();
        run_program(self.program, &[arguments, &of_log].concat())
    }

    /// The decoded events of the log, in the order of each partition.
    ///
    /// # Panics
    /// If the log cannot be read.
    pub fn events(&self) -> Vec<serde_json::Value> {
        // A broker may be busy.
        let is_answered = |output: &Output| output.status.code() != Some(UNAVAILABLE);
        let cat = || self.command(&["log", "cat"]);
        let output = (0..READS).map(|_| cat()).find(is_answered).unwrap_or_else(cat);
        assert!(output.status.success(), "daybook log cat failed: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    /// Its API; the address is of no use for a process without the role.
    pub api: Api,
    lines: Arc<Mutex<Vec<String>>>,
    program: &'static str,
}

/// These options, and an address to listen on unless they have one.
fn listening<'o>(options: &[&'o str]) -> Vec<&'o str> {
    let listen: &[&str] = if options.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
    [listen, options].concat()
}

impl Server {
    /// Starts a server with all roles and waits until it is ready.
    pub fn start(place: &Place) -> Self {
        Self::start_with(place, &[])
    }

    /// Starts a server with more options and waits until it is ready.
    pub fn start_with(place: &Place, options: &[&str]) -> Self {
        Self::start_until(place, &listening(options), &[], "ready after")
    }

    /// Starts a server that takes its settings from variables and these options alone, besides what names its place; and
    /// waits until it is ready.
    pub fn start_by(place: &Place, variables: &[(&str, &str)], options: &[&str]) -> Self {
        Self::start_until(place, options, variables, "ready after")
    }

    /// Starts a worker with more options and waits until it looks for rebuilds. It has no API.
    pub fn start_worker(place: &Place, options: &[&str]) -> Self {
        Self::run_until(place, Command::new(binary_of(place.program)), "worker", options, "waiting for rebuilds")
    }

    /// Starts a server that may have so many files and sockets open, and waits until it is ready.
    pub fn start_with_descriptors(place: &Place, descriptors: u32) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")]).arg(binary_of(place.program));
        Self::run_until(place, command, "serve", &["--listen", "127.0.0.1:0"], "ready after")
    }

    /// Starts a server with more options and waits until it listens. It may not be ready yet.
    pub fn begin(place: &Place, options: &[&str]) -> Self {
        Self::start_until(place, &listening(options), &[], "listening on")
    }

    /// Starts a server and waits until it logs a line that contains `sign`.
    ///
    /// # Panics
    /// If it ends before that; its output is shown.
    fn start_until(place: &Place, options: &[&str], variables: &[(&str, &str)], sign: &str) -> Self {
        let mut command = Command::new(binary_of(place.program));
        command.envs(variables.iter().copied());
        Self::run_until(place, command, "serve", options, sign)
    }

    fn run_until(place: &Place, mut command: Command, verb: &str, options: &[&str], sign: &str) -> Self {
        command.arg(verb).args(place.options()).args(options);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("cannot start daybook: {error}"));
        let stderr = child.stderr.take().unwrap_or_else(|| panic!("stderr is piped"));
        let mut output = BufReader::new(stderr).lines().map_while(Result::ok);
        let (lines, mut listen) = (Arc::new(Mutex::new(Vec::new())), None);
        let mut seen = Vec::new();
        // The process says where it listens and when it is ready: reading on is all the waiting there is.
        loop {
            let Some(line) = output.next() else { panic!("daybook ended before {sign:?}:\n{}", seen.join("\n")) };
            if let Some(address) = line.split("listening on ").nth(1) {
                listen = listen.or_else(|| address.split_whitespace().next().map(str::to_owned));
            }
            let done = line.contains(sign);
            seen.push(line);
            if done {
                break;
            }
        }
        let of_thread = Arc::clone(&lines);
        thread::spawn(move || {
            for line in output {
                of_thread.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { child, api: Api::new(&format!("http://{}", listen.unwrap_or_default())), lines, program: place.program }
    }

    /// Runs a command that asks this server, to its end.
    pub fn command(&self, arguments: &[&str]) -> Output {
        run_program(self.program, &[arguments, &["--server", &self.api.base]].concat())
    }

    /// Runs a command that asks this server on a terminal; whether it ended well, and what it printed.
    pub fn command_on_terminal(&self, arguments: &[&str]) -> (bool, String) {
        run_on_terminal(&[arguments, &["--server", &self.api.base]].concat())
    }

    /// Starts a command that asks this server, and whose output is read as it comes.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(binary_of(self.program));
        command.args(arguments).args(["--server", &self.api.base]).stdin(Stdio::null());
        let spawned = without_settings(&mut command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        spawned.unwrap_or_else(|error| panic!("cannot run {} {arguments:?}: {error}", self.program))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A figure of its memory in KiB, by its name in `/proc`, as in `VmRSS`.
    ///
    /// # Panics
    /// If there is none.
    pub fn memory_kib(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok());
        kib.unwrap_or_else(|| panic!("process {} has no {name}", self.pid()))
    }

    /// What it has logged since it was ready, or since it listened if it was begun.
    pub fn logged(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends it a signal, as in `STOP`.
    ///
    /// # Panics
    /// If it cannot be sent.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send {name} to process {}", self.pid());
    }

    /// Kills it without warning and waits for its end.
    pub fn kill(mut self) {
        self.end();
    }

    /// Waits until it ends by itself; true if it ended well.
    pub fn wait(mut self) -> bool {
        self.child.wait().is_ok_and(|status| status.success())
    }

    /// Asks it to stop and waits for its end; true if it ended well. If not, what it logged last is printed.
    pub fn stop(mut self) -> bool {
        self.signal("TERM");
        let ended = self.child.wait();
        let is_well = ended.as_ref().is_ok_and(ExitStatus::success);
        if !is_well {
            let lines = self.logged();
            eprintln!("{ended:?}:\n{}", lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n"));
        }
        is_well
    }

    fn end(&mut self) {
        // One that has ended already is as dead as one can be.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A process that serves nobody; killed when dropped.
pub struct Projector(Child);

impl Projector {
    /// Starts a projector.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(place: &Place) -> Self {
        let mut command = Command::new(binary());
        command.args(["serve", "--roles", "projector"]).args(place.options());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("cannot start a projector: {error}")))
    }

    /// Takes a process to be killed when dropped.
    pub fn of(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Projector {
    fn drop(&mut self) {
        // One that has ended already is as dead as one can be.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

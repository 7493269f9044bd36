//! What a copy of a warm program does and sees is what the program itself does and sees; and what goes wrong with warm programs
//! shows nowhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::HeadStart;
use crate::execute::key::FIXED_ENVIRONMENT;
use crate::execute::process::{Ended, Processes, Start};
use crate::execute::sandbox::{Confinement, Needs, Sandbox, SandboxMode};
use crate::execute::spawn::Command;

/// A program run in a folder, each time with other arguments.
struct Bench {
    program: PathBuf,
    folder: TempDir,
    processes: Processes,
}

/// All that is known of a process that ended.
type Facts = (std::process::ExitStatus, String, bool);

impl Bench {
    fn new(program: impl Into<PathBuf>) -> Bench {
        Bench { program: program.into(), folder: TempDir::new().unwrap(), processes: Processes::new(1) }
    }

    /// One whose program is warm.
    fn warm(program: impl Into<PathBuf>) -> Bench {
        let bench = Bench::new(program);
        bench.warm_up();
        assert_eq!(bench.processes.warmth().trouble, None);
        bench
    }

    /// Runs it until it is warm, or will never be.
    fn warm_up(&self) {
        let before = self.processes.warmth().runs;
        let start = Instant::now();
        while self.processes.warmth().runs == before && self.processes.warmth().trouble.is_none() {
            assert!(start.elapsed() < Duration::from_secs(30), "nothing comes of it");
            self.processes.run(&self.command(&["--version"]), Start::Warm, &|| ()).unwrap();
            self.processes.tend();
        }
    }

    /// One whose program waits for a command.
    fn ahead(program: &str) -> Bench {
        let mut bench = Bench::new(program);
        bench.processes = Processes::ahead(1, HeadStart::new(Path::new(program), bench.folder.path()).unwrap());
        bench
    }

    fn command(&self, arguments: &[&str]) -> Command {
        Command::new(&self.program, arguments.iter().copied(), FIXED_ENVIRONMENT, self.folder.path()).unwrap()
    }

    fn run(&self, start: Start, arguments: &[&str]) -> Facts {
        let Ended { status, printed, stopped } = self.processes.run(&self.command(arguments), start, &|| ()).unwrap();
        (status, printed, stopped)
    }

    /// Runs a copy; fails when it was none.
    fn copy(&self, arguments: &[&str]) -> Facts {
        let before = self.processes.warmth().runs;
        let facts = self.run(Start::Warm, arguments);
        assert_eq!(self.processes.warmth().runs, before + 1, "{:?}", self.processes.warmth());
        facts
    }

    /// The server of the program.
    fn server(&self) -> libc::pid_t {
        let of = |entry: fs::DirEntry| {
            let variables = fs::read_to_string(entry.path().join("environ")).unwrap_or_default();
            let folder = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let ours = variables.contains("OURO_WARM_SOCKET") && folder == self.folder.path().canonicalize().unwrap();
            ours.then(|| entry.file_name().to_str().unwrap().parse().unwrap())
        };
        fs::read_dir("/proc").unwrap().flatten().find_map(of).expect("a server runs")
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: sends a signal to a child of ours that nobody has waited for.
        assert_eq!(unsafe { libc::kill(self.server(), signal) }, 0);
    }
}

const SCRIPTS: [&str; 9] = [
    "echo one; echo two >&2; exit 1",
    "env; cat /proc/self/environ | tr '\\0' '\\n'",
    "pwd; cat; echo $# $0 \"$@\"; umask; ulimit -a",
    "ls -l /proc/$$/fd > list; sed 's/.* \\([0-9]* -> \\)/\\1/; s/[0-9]*$//' list",
    "grep -E '^(SigPnd|SigBlk|SigIgn|SigCgt|Shd|NoNewPrivs|Threads|Seccomp)' /proc/self/status; readlink /proc/$$/exe",
    "test $(cut -d' ' -f5 /proc/$$/stat) = $$ && echo leads its group",
    "test $PPID = $(cut -d' ' -f4 /proc/$$/stat) && cat /proc/$PPID/comm",
    "kill -TERM $$",
    "exit 70",
];

#[test]
fn a_copy_sees_what_the_program_sees() {
    let bench = Bench::warm("/bin/sh");
    for script in SCRIPTS {
        let arguments = ["-c", script, "zero", "", "a b", "\u{e9}"];
        assert_eq!(bench.copy(&arguments), bench.run(Start::Plain, &arguments), "{script}");
    }
}

#[test]
fn so_does_one_that_was_started_ahead() {
    for script in SCRIPTS {
        let bench = Bench::ahead("/bin/sh");
        let arguments = ["-c", script, "zero", "", "a b", "\u{e9}"];
        let (mut ahead, plain) = (bench.copy(&arguments), bench.run(Start::Plain, &arguments));
        // It tells of its end by one.
        ahead.1 = ahead.1.lines().filter(|line| !line.contains("socket:")).map(|line| format!("{line}\n")).collect();
        assert_eq!(ahead, plain, "{script}");
    }
}

/// What its children do on their way out is not its own end, and what it writes there is not lost.
#[test]
fn what_was_started_ahead_tells_of_its_own_end() {
    let folder = TempDir::new().unwrap();
    let [source, program] = ["source.c", "program"].map(|name| folder.path().join(name));
    let text = "#include <stdio.h>\n#include <stdlib.h>\n#include <sys/wait.h>\n#include <unistd.h>\n\
        static void late(void) { puts(\"late\"); }\n\
        int main(int count, char **words) { atexit(late); if (fork() == 0) exit(0); wait(0); puts(\"in time\");\n\
        if (words[2]) execl(\"/bin/sh\", \"sh\", \"-c\", words[2], NULL); exit(atoi(words[1])); }\n";
    fs::write(&source, text).unwrap();
    assert!(std::process::Command::new("cc").arg(&source).arg("-o").arg(&program).status().unwrap().success());
    let program = program.to_str().unwrap();
    for arguments in [&["0"][..], &["3"], &["0", "sleep 0.1; echo another; exit 5"]] {
        let bench = Bench::ahead(program);
        let waiting = bench.server();
        let ahead = bench.copy(arguments);
        assert_eq!(ahead, Bench::new(program).run(Start::Plain, arguments));
        assert!(!bench.processes.finish());
        let start = Instant::now();
        while Path::new(&format!("/proc/{waiting}")).exists() {
            assert!(start.elapsed() < Duration::from_secs(10), "nobody waits for it");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn what_was_started_ahead_serves_one_command_of_its_kind() {
    let bench = Bench::ahead("/bin/sh");
    let (arguments, other) = (["-c", "echo $A$$"], [("A", "other ")]);
    let of_another_kind = Command::new(&bench.program, arguments, other, bench.folder.path()).unwrap();
    assert!(bench.processes.run(&of_another_kind, Start::Warm, &|| ()).unwrap().printed.starts_with("other "));
    assert_eq!(bench.processes.warmth().runs, 0);
    let waiting = bench.server();
    assert_eq!(bench.copy(&arguments).1, format!("{waiting}\n"));
    assert_ne!(bench.run(Start::Warm, &arguments).1, format!("{waiting}\n"));
    assert_eq!(bench.processes.warmth().runs, 1);
}

#[test]
fn what_was_started_ahead_for_nothing_ends() {
    let bench = Bench::ahead("/bin/sh");
    let waiting = bench.server();
    assert!(!bench.processes.finish(), "it is no orphan");
    assert!(!Path::new(&format!("/proc/{waiting}")).exists());
}

#[test]
fn what_fails_ahead_costs_a_retry() {
    let bench = Bench::ahead("/bin/sh");
    let script = "echo tried; test -e mark || { : > mark; kill -SEGV $$; }; echo fine";
    assert_eq!(bench.copy(&["-c", script]).1, "tried\nfine\n");
    let bench = Bench::ahead("/bin/sh");
    bench.signal(libc::SIGKILL);
    assert_eq!(bench.run(Start::Warm, &["-c", "echo fine"]).1, "fine\n");
}

#[test]
fn what_cannot_be_warm_is_run_as_ever() {
    let folder = TempDir::new().unwrap();
    let place = |name: &str| folder.path().join(name);
    let script = place("script");
    fs::write(&script, "#!/bin/sh\necho \"script $*\"\n").unwrap();
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let source = place("source.c");
    fs::write(&source, "#include <stdio.h>\nint main(int c, char **v) { return puts(v[c - 1]) < 0; }\n").unwrap();
    let program = place("program");
    let compiler = std::process::Command::new("cc").arg("-static").arg(&source).arg("-o").arg(&program).status();
    assert!(compiler.unwrap().success());
    for (program, printed, trouble) in [(script, "script x\n", "another program runs it"), (program, "x\n", "statically linked")]
    {
        let bench = Bench::new(&program);
        bench.warm_up();
        let (status, said, _) = bench.run(Start::Warm, &["x"]);
        assert!(status.success());
        assert_eq!(said, printed);
        let warmth = bench.processes.warmth();
        assert_eq!(warmth.runs, 0);
        assert!(warmth.trouble.as_ref().unwrap().contains(trouble), "{warmth:?}");
        assert!(super::warm_trouble(&program).unwrap().contains(trouble));
    }
    assert_eq!(super::warm_trouble(Path::new("/bin/sh")), None);
    assert!(super::warm_trouble(Path::new("/no/such/program")).unwrap().contains("No such file"));
}

#[test]
fn a_crash_of_a_copy_costs_a_retry() {
    let bench = Bench::warm("/bin/sh");
    // One that the program has, too, is told as it is.
    let crash = ["-c", "echo once; kill -SEGV $$"];
    assert_eq!(bench.copy(&crash), bench.run(Start::Plain, &crash));
    assert_eq!(bench.processes.warmth().trouble, None);
    for (mark, end) in [("a", "kill -SEGV $$"), ("b", "exit 139")] {
        let bench = Bench::warm("/bin/sh");
        let script = format!("echo tried; test -e {mark} || {{ : > {mark}; {end}; }}; echo fine");
        let (status, printed, stopped) = bench.copy(&["-c", &script]);
        assert_eq!((status.code(), printed.as_str(), stopped), (Some(0), "tried\nfine\n", false));
        // What does that is not to be trusted.
        assert!(bench.processes.warmth().trouble.unwrap().contains("a copy of it failed"));
    }
}

#[test]
fn a_server_that_ended_is_replaced_a_few_times() {
    let bench = Bench::warm("/bin/sh");
    while bench.processes.warmth().trouble.is_none() {
        bench.signal(libc::SIGKILL);
        assert_eq!(bench.run(Start::Warm, &["-c", "echo fine"]).1, "fine\n");
        bench.processes.tend();
        bench.warm_up();
    }
    assert!(bench.processes.warmth().trouble.unwrap().contains("again and again"));
    assert_eq!(bench.processes.warmth().runs, super::TRIES);
}

#[test]
fn a_hung_server_is_noticed() {
    let bench = Bench::warm("/bin/sh");
    bench.signal(libc::SIGSTOP);
    let server = bench.server();
    assert_eq!(bench.run(Start::Warm, &["-c", "echo fine"]).1, "fine\n");
    assert!(!Path::new(&format!("/proc/{server}")).exists(), "it is ended");
}

#[test]
fn copies_are_stopped_as_any_process() {
    let bench = Bench::warm("/bin/sh");
    let (start, ready) = (Instant::now(), bench.folder.path().join("ready"));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| bench.copy(&["-c", ": > ready; sleep 30; sleep 30"]));
        while !ready.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // As a build does, again and again: the copy may run before the thread that asked for it knows that.
        while !running.is_finished() {
            bench.processes.stop(false);
            std::thread::sleep(Duration::from_millis(1));
        }
        let (status, _, stopped) = running.join().unwrap();
        assert!(stopped && !status.success());
    });
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(bench.copy(&["-c", "echo next"]).1, "next\n", "the server is not concerned");
}

/// Pages that the server would gather with each request would be copied with every later one.
#[test]
fn a_server_does_not_grow() {
    let bench = Bench::warm("/bin/sh");
    let pages = || {
        let sizes = fs::read_to_string(format!("/proc/{}/statm", bench.server())).unwrap();
        sizes.split(' ').take(2).map(|pages| pages.parse().unwrap()).collect::<Vec<usize>>()
    };
    let run = |count: usize| (0..count).for_each(|_| assert!(bench.copy(&["-c", ":"]).0.success()));
    run(20);
    let before = pages();
    run(500);
    let after = pages();
    assert!(after[0] <= before[0] && after[1] <= before[1] + 8, "{before:?} {after:?}");
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that cannot run says what is missing")]
fn copies_are_kept_in_like_the_program_itself() {
    if let Some((why, _)) = SandboxMode::Landlock.obstacle() {
        return eprintln!("not tested: {why}");
    }
    let bench = Bench::warm("/bin/sh");
    let secret = bench.folder.path().join("secret");
    fs::write(&secret, "known\n").unwrap();
    let confinement = Confinement::new(bench.folder.path(), Sandbox { mode: SandboxMode::Landlock, read: &[] });
    // A shell reads a line without another program.
    let within = |files| {
        let walls = confinement.cage(&Needs { files, ..Needs::default() }).unwrap().walls;
        bench.command(&["-c", "read line < secret; echo $line"]).within(walls)
    };
    for start in [Start::Plain, Start::Warm] {
        let open = bench.processes.run(&within(vec![secret.clone()]), start, &|| ()).unwrap();
        assert_eq!(open.printed, "known\n");
        let closed = bench.processes.run(&within(Vec::new()), start, &|| ()).unwrap();
        assert!(closed.printed.contains("cannot open secret: Permission denied"), "{}", closed.printed);
    }
    let warmth = bench.processes.warmth();
    assert_eq!((warmth.runs, warmth.trouble), (3, None));
}

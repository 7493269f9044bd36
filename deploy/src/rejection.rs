//! A program the verifier rejected: the line that says why, the source line it is about, and the whole log.
//!
//! Pure: reads the log's text.

mod hint;
mod trace;

use std::fmt;
use std::io;

use serde::Serialize;

pub(crate) use trace::is_statistic;

/// A program the verifier rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// The program's name.
    pub program: String,
    /// Why, in the verifier's words; or in ours where it has none.
    pub reason: String,
    /// What to do, where we know.
    pub help: Option<String>,
    /// The source line the verifier stopped at.
    pub place: Option<Place>,
    /// The instruction it stopped at.
    pub instruction: Option<String>,
    /// What the registers held that the instruction and the reason name, as `R1=pkt(r=0)`.
    pub registers: Vec<String>,
    /// What the verifier said before the reason.
    pub said: Vec<String>,
    /// The whole log.
    pub log: String,
}

/// A line of C.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its text.
    pub text: String,
    /// The file, where the kernel tells it (6.9).
    pub file: Option<String>,
    /// The line, with the file.
    pub line: Option<u32>,
}

/// So many lines of what was said before the reason are shown.
const MOST_SAID: usize = 4;

impl Rejection {
    /// Reads a log, which may be empty: then the error is all the kernel says.
    pub(crate) fn new(program: &str, error: &io::Error, log: String) -> Rejection {
        let trace = trace::read(&log);
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
        let program = program.to_owned();
        let Some((reason, said)) = trace.said.split_last() else {
            let (reason, help) = silent(error, &log);
            let (place, instruction, registers, said) = (None, None, Vec::new(), Vec::new());
            return Rejection { program, reason, help, place, instruction, registers, said, log };
        };
        let help = trace.said.iter().rev().find_map(|line| hint::find(line, &trace.registers)).map(str::to_owned);
        let said = owned(&said[said.len().saturating_sub(MOST_SAID)..]);
        let (reason, instruction) = ((*reason).to_owned(), trace.instruction.map(str::to_owned));
        let (place, registers) = (trace.place, trace.registers);
        Rejection { program, reason, help, place, instruction, registers, said, log }
    }
}

/// What an error means that no line of the log explains.
fn silent(error: &io::Error, log: &str) -> (String, Option<String>) {
    let mut lines = log.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    let verified = lines.peek().is_some();
    let (reason, help) = match error.raw_os_error() {
        // The kernel refuses a table owned by programs of another kind after verifying all of the program, and prints nothing. Of a
        // program that the verifier has nothing against only a whole log keeps more than how much there was to do.
        Some(libc::EINVAL) if verified && (lines.all(is_statistic) || log.contains(JUMP)) => (
            "it cannot use the chain's jump table, which belongs to programs of another type",
            "all programs of a chain must have the same type: `xdp` and `xdp.frags` do not mix, nor `tc` and `tcx/ingress`",
        ),
        Some(libc::EINVAL) if verified => {
            return ("the verifier's log does not say why".to_owned(), None);
        }
        Some(libc::EINVAL) => (
            "the kernel does not know its type, the place it is attached to, or a flag it is loaded with",
            "`ouro doctor --kernel` says what this kernel has",
        ),
        Some(libc::EPERM | libc::EACCES) => (
            "the kernel does not permit it, and does not say why",
            "programs that need a trampoline (fentry, fexit, fmod_ret, lsm, freplace) are refused by a kernel in lockdown, even to root; \
             others when a capability is missing: `ouro doctor --kernel` says which",
        ),
        Some(libc::ENOSPC) => (
            "the verifier's log is larger than the room it was given",
            "the program is large: split it, and the verifier says more of its parts",
        ),
        Some(libc::E2BIG) => {
            ("it has more instructions than the kernel takes", "split it: each program of a chain may have a million")
        }
        Some(libc::ENOMEM) => {
            ("the kernel has no memory for it", "kernels before 5.11 count it against `ulimit -l`: deploy as root")
        }
        Some(ENOTSUPP | libc::EOPNOTSUPP) => {
            ("this kernel does not support it", "`ouro doctor --kernel` says what this kernel has")
        }
        _ if error.kind() == io::ErrorKind::Unsupported => {
            ("this kernel does not support it", "`ouro doctor --kernel` says what this kernel has")
        }
        _ => return (error.to_string(), None),
    };
    (reason.to_owned(), Some(help.to_owned()))
}

/// What the verifier prints of a jump.
const JUMP: &str = "call bpf_tail_call#";

/// The kernel's own error, which has no text in the C library.
const ENOTSUPP: i32 = 524;

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel's verifier rejected `{}`: {}", self.program, self.reason)?;
        match &self.place {
            Some(Place { text, file: Some(file), line: Some(line) }) => write!(f, "\n  {file}:{line}: {text}")?,
            Some(Place { text, .. }) => write!(f, "\n  {text}")?,
            None => {}
        }
        let rest = self.instruction.iter().chain(&self.registers).chain(&self.said);
        rest.into_iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(errno: i32, log: &str) -> Rejection {
        Rejection::new("parse", &io::Error::from_raw_os_error(errno), log.to_owned())
    }

    #[test]
    fn the_line_that_says_why_is_found() {
        let log = "0: R1=ctx() R10=fp0\n; return *(__u8 *)data; @ parse.c:12\n0: (61) r1 = *(u32 *)(r1 +0)\n1: (71) r0 = *(u8 *)(r1 +0)\n\
                   invalid access to packet, off=0 size=1, R1(id=0,off=0,r=0)\nR1 offset is outside of the packet\n\
                   verification time 60 usec\nstack depth 0\nprocessed 2 insns (limit 1000000) max_states_per_insn 0\n";
        let found = rejection(libc::EACCES, log);
        assert_eq!(found.reason, "R1 offset is outside of the packet");
        assert_eq!(
            found.place,
            Some(Place { text: "return *(__u8 *)data;".to_owned(), file: Some("parse.c".to_owned()), line: Some(12) })
        );
    }

    #[test]
    fn old_kernels_name_no_file() {
        let found = rejection(libc::EINVAL, "; return x;\n1: (95) exit\nR0 !read_ok\nprocessed 2 insns\n");
        assert_eq!(found.reason, "R0 !read_ok");
        assert!(found.help.is_some());
        assert_eq!(found.place, Some(Place { text: "return x;".to_owned(), file: None, line: None }));
    }

    #[test]
    fn an_endless_loop_is_called_so() {
        let log = "; while (1) @ parse.c:9\n2: (05) goto pc-1\ninfinite loop detected at insn 2\n\
                   cur state: R1=ctx() R10=fp0\nold state: R1=ctx() R10=fp0\nprocessed 4 insns (limit 1000000)\n";
        let found = rejection(libc::EINVAL, log);
        assert_eq!(found.reason, "infinite loop detected at insn 2");
        assert_eq!(found.help.as_deref(), Some("give the loop a constant bound"));
        assert_eq!(found.instruction.as_deref(), Some("2: (05) goto pc-1"));
    }

    #[test]
    fn a_log_without_an_error_means_a_foreign_table() {
        for trace in ["", "0: (85) call bpf_tail_call#12\n1: (95) exit\n"] {
            let found =
                rejection(libc::EINVAL, &format!("{trace}verification time 123 usec\nprocessed 30 insns (limit 1000000)\n"));
            assert!(found.reason.contains("another type"), "{found}");
            assert_eq!(found.place, None);
        }
    }

    /// Of a program that never jumps it was said that the jump table is not for it.
    #[test]
    fn what_the_verifier_stopped_at_is_not_taken_for_a_foreign_table() {
        let found = rejection(libc::EINVAL, "0: (b7) r0 = 2\n1: (95) exit\nprocessed 5 insns (limit 1000000)\n");
        assert!(found.reason.contains("does not say why") && !found.to_string().contains("table"), "{found}");
    }

    /// The reason stood behind the last instruction, in its line, and was taken for a part of it.
    #[test]
    fn a_reason_behind_an_instruction_is_found() {
        let log = "; while (ctx->rx_queue_index < 5) @ count.c:4\n4: (61) r2 = *(u32 *)(r1 +16)\n\
                   5: (a6) if w2 < 0x5 goto pc-2 infinite loop detected at insn 4\n\
                   cur state: R1=ctx() R10=fp0\nold state: R1=ctx() R10=fp0\nprocessed 12 insns (limit 1000000)\n";
        let found = rejection(libc::EINVAL, log);
        assert_eq!(found.reason, "infinite loop detected at insn 4");
        assert_eq!(found.help.as_deref(), Some("give the loop a constant bound"));
        assert_eq!(found.instruction.as_deref(), Some("5: (a6) if w2 < 0x5 goto pc-2"));
    }

    #[test]
    fn what_people_see_is_the_line_the_instruction_and_its_registers() {
        let log = "0: R1=ctx() R10=fp0\n; return *at; @ p.c:4\n0: (61) r1 = *(u32 *)(r1 +16)   ; R1=scalar(smin=0,var_off=(0x0; 0xff))\n\
                   1: (71) r0 = *(u8 *)(r1 +0)\nR1 invalid mem access 'scalar'\nprocessed 2 insns\n";
        let found = rejection(libc::EACCES, log).to_string();
        let expected = "the kernel's verifier rejected `parse`: R1 invalid mem access 'scalar'\n  p.c:4: return *at;\n    \
                        1: (71) r0 = *(u8 *)(r1 +0)\n    R1=scalar(smin=0,var_off=(0x0; 0xff))";
        assert_eq!(found, expected);
    }

    #[test]
    fn errors_without_a_log_have_a_meaning() {
        for (errno, word) in [
            (libc::EPERM, "does not permit"),
            (libc::EINVAL, "does not know"),
            (libc::ENOSPC, "log is larger"),
            (libc::E2BIG, "more instructions"),
            (ENOTSUPP, "does not support"),
        ] {
            let found = rejection(errno, "");
            assert!(found.reason.contains(word) && found.help.is_some(), "{found}");
        }
        let other = rejection(libc::EINTR, "");
        assert_eq!((other.reason.contains("os error 4"), other.help), (true, None));
    }

    /// Messages that no program of `tests/rejected` brings about on the kernel these were written on: older and newer kernels' words.
    #[test]
    fn words_of_other_kernels_have_hints_too() {
        for (said, hint) in [
            ("R1 invalid mem access 'inv'", "BPF_CORE_READ"),
            ("BPF program is too large. Processed 1000001 insn", "a budget of its own"),
            ("back-edge from insn 7 to 3", "constant bound"),
            ("invalid indirect read from stack R2 off -8+4 size 8", "initialise all bytes"),
            ("invalid indirect read from stack off -8+4 size 8", "initialise all bytes"),
            ("R2 unbounded variable-offset indirect access to stack R10", "bound the index"),
            ("R2 min value is negative, either use unsigned index or do a if (index >=0) check.", "unsigned"),
            ("invalid stack off=-516 size=8", "512 bytes"),
            ("misaligned packet access off 0+14+1 size 4", "bytewise"),
            ("The sequence of 8193 jumps is too complex.", "split the program"),
            ("unknown func bpf_loop#181", "does not have the helper"),
            ("kernel btf_id 1234 is not a function", "no such function"),
            ("calling kernel function bpf_obj_new_impl is not allowed", "may not call"),
            ("At program exit the register R0 has value (0x2; 0x0) should have been in (0x0; 0x1)", "hook takes only"),
            ("At program exit the register R0 has smin=0 smax=4294967295 should have been in [0, 3]", "hook takes only"),
            ("bpf_spin_unlock is missing", "bpf_spin_unlock"),
            ("combined stack size of 3 calls is 544. Too large", "per-CPU array"),
            ("tail_calls are not allowed in non-JITed programs with bpf-to-bpf calls", "from the program itself"),
            ("Sleepable programs can only use array, hash, ringbuf and local storage maps", "cannot jump"),
            ("the call stack of 9 frames is too deep !", "8 functions"),
        ] {
            let found = rejection(libc::EINVAL, &format!("{said}\nprocessed 1 insns (limit 1000000)\n"));
            assert_eq!(found.reason, said);
            assert!(found.help.as_deref().is_some_and(|help| help.contains(hint)), "{said}: {:?}", found.help);
        }
    }
}

//! The verifier's log as a story: which instruction it stopped at, which source line that is of, and what registers held.
//!
//! Knows how kernels from 5.9 print; what messages mean is `hint`'s.

use super::{Place, hint};

/// What a log tells of the place where the verifier stopped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Trace<'a> {
    /// The source line.
    pub(super) place: Option<Place>,
    /// The instruction.
    pub(super) instruction: Option<&'a str>,
    /// What is said below it, the reason last.
    pub(super) said: Vec<&'a str>,
    /// The registers that the instruction or the reason names, with what they held.
    pub(super) registers: Vec<String>,
}

/// Reads a log from its end.
pub(super) fn read(log: &str) -> Trace<'_> {
    let place = log.lines().rev().find_map(source_line);
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty() && !is_statistic(line)).collect();
    let lines = with_last_words_apart(lines);
    let end = lines.iter().rposition(|line| is_trace(line)).map_or(0, |at| at + 1);
    let said = lines[end..].to_vec();
    let at = lines[..end].iter().rposition(|line| is_instruction(line));
    let instruction = at.map(|at| lines[at]);
    let instruction = instruction.map(|line| line.split("; ").next().unwrap_or(line).trim());
    let named = instruction.into_iter().map(read_by).chain(said.iter().copied());
    let registers = named.fold(Vec::new(), |found, text| registers_of(text, found));
    // What an instruction that failed did is not printed behind it, so what stands last is what it found.
    let values = registers.into_iter().filter_map(|register| value(&lines[..end], register)).collect();
    Trace { place, instruction, said, registers: values }
}

/// Where the log ends with an instruction, and the reason stands behind it in the same line: `5: (a6) if w2 < 0x5 goto pc-2
/// infinite loop detected at insn 4`. What is said becomes a line of its own.
fn with_last_words_apart(mut lines: Vec<&str>) -> Vec<&str> {
    let Some(last) = lines.last_mut().filter(|line| is_instruction(line)) else { return lines };
    if let Some(at) = hint::begins(last) {
        let (instruction, said) = last.split_at(at);
        *last = instruction.trim_end();
        lines.push(said);
    }
    lines
}

/// The part of an instruction that reads: what a load overwrites says nothing.
fn read_by(instruction: &str) -> &str {
    let text = instruction.split_once(") ").map_or(instruction, |(_, text)| text);
    match text.split_once(" = ") {
        Some((target, source)) if !target.contains('(') => source,
        _ => text,
    }
}

/// `; int x = *p; @ parse.c:12`, or without the place before kernel 6.9.
fn source_line(line: &str) -> Option<Place> {
    let text = line.trim().strip_prefix("; ")?;
    let with_place = text.rsplit_once(" @ ").and_then(|(text, place)| {
        let (file, line) = place.rsplit_once(':')?;
        Some(Place { text: text.trim().to_owned(), file: Some(file.to_owned()), line: Some(line.trim().parse().ok()?) })
    });
    Some(with_place.unwrap_or_else(|| Place { text: text.trim().to_owned(), file: None, line: None }))
}

/// One of the lines at a log's end that say how much there was to do.
pub(crate) fn is_statistic(line: &str) -> bool {
    ["processed ", "insns processed ", "verification time ", "stack depth ", "max_states_per_insn ", "cur state:", "old state:"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// An instruction, a source line or a state: what the verifier prints as it goes.
fn is_trace(line: &str) -> bool {
    is_numbered(line)
        || [";", "from ", "func#", "mark_precise", "arg#0 reference", "caller:", "callee:"]
            .iter()
            .any(|start| line.starts_with(start))
}

/// `7: (79) r1 = *(u64 *)(r0 +0)`, or `7: R0=...`, which is a state.
fn is_numbered(line: &str) -> bool {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && line[digits..].starts_with(':')
}

fn is_instruction(line: &str) -> bool {
    is_numbered(line) && line.split_once(": (").is_some_and(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Adds the registers a text names to those found; `w1` is the lower half of `r1`. The frame is never of interest.
fn registers_of(text: &str, mut found: Vec<u32>) -> Vec<u32> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let numbers = words.filter_map(|word| word.strip_prefix(['r', 'R', 'w'])?.parse::<u32>().ok());
    found.extend(numbers.filter(|number| *number < 10));
    found.sort_unstable();
    found.dedup();
    found
}

/// What a register held when it was printed last, as `R1=pkt(r=0)`.
fn value(lines: &[&str], register: u32) -> Option<String> {
    lines.iter().rev().filter(|line| is_trace(line) && !line.starts_with(';')).find_map(|line| {
        let name = format!("R{register}");
        let mut places = line.match_indices(&name).map(|(at, _)| at);
        places.find_map(|at| value_at(line, at, name.len())).map(|value| format!("{name}={value}"))
    })
}

/// The value of `R1_w=inv(id=0,...)`, whose marks are of no interest, if a register's name of this length stands here.
fn value_at(line: &str, at: usize, length: usize) -> Option<&str> {
    let starts = at == 0 || line[..at].ends_with(' ');
    let rest = line[at + length..].strip_prefix("_w").or(line[at + length..].strip_prefix("_r")).unwrap_or(&line[at + length..]);
    let rest = rest.strip_prefix('=').filter(|_| starts)?;
    let mut depth = 0;
    let ends = |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ' ' && depth == 0
    };
    Some(&rest[..rest.find(ends).unwrap_or(rest.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_their_brackets_do() {
        let lines = ["3: (0f) r6 += r0   ; R0=scalar(smin=0,var_off=(0x0; 0x7f)) R6=map_value(map=t,ks=4) R60=1"];
        assert_eq!(value(&lines, 0).as_deref(), Some("R0=scalar(smin=0,var_off=(0x0; 0x7f))"));
        assert_eq!(value(&lines, 6).as_deref(), Some("R6=map_value(map=t,ks=4)"));
        assert_eq!(value(&lines, 1), None);
        let old = ["from 4 to 7: R0_w=inv0 R1_w=pkt(id=0,off=0,r=14,imm=0) R10=fp0"];
        assert_eq!(value(&old, 1).as_deref(), Some("R1=pkt(id=0,off=0,r=14,imm=0)"));
        assert_eq!(value(&old, 0).as_deref(), Some("R0=inv0"));
    }

    #[test]
    fn registers_are_those_the_instruction_and_the_reason_name() {
        assert_eq!(registers_of("7: (79) w1 = *(u64 *)(r10 -8)", Vec::new()), [1]);
        assert_eq!(registers_of("R2 type=scalar expected=fp", vec![1]), [1, 2]);
        assert_eq!(read_by("7: (79) r1 = *(u64 *)(r0 +0)"), "*(u64 *)(r0 +0)");
        assert_eq!(read_by("3: (63) *(u32 *)(r1 +0) = r2"), "*(u32 *)(r1 +0) = r2");
        assert_eq!(read_by("14: (0f) r6 += r0"), "r6 += r0");
    }

    #[test]
    fn texts_that_are_no_log_are_read_all_the_same() {
        for text in ["", "\n\n", "; ", "é: (é) rR1=", "9", "9:", ": (", "from ", "R1 R=", "1: (95) exit; "] {
            read(text);
        }
    }
}

//! The kernel's rules for functions that call each other and jump: callbacks, return values, frames.
//!
//! Knows calls and frames; not where jumps lead.

use std::collections::{BTreeMap, BTreeSet};

use ouro_btf::Kind;

use super::decoded::Decoded;
use super::flow::Call;
use crate::diagnostic::Diagnostic;

/// Bytes of stack all frames share (`MAX_BPF_STACK`).
const MAX_STACK: u32 = 512;
/// Frames above a function that jumps must stay below this (kernel: "tail_calls are not allowed when call stack of previous
/// frames is 256 bytes").
const MAX_ABOVE_JUMP: u32 = 256;
/// Functions that can be in each other (`MAX_CALL_FRAMES`).
const MAX_FRAMES: usize = 8;
/// Kernels round each frame up to this (measured on 6.12 and 6.18). 6.1 rounds to 32 and may refuse what passes here, because no
/// program should be refused that newer kernels run.
const FRAME_ALIGN: u32 = 16;
/// The largest integer, in bytes, a function that jumps may return.
const MAX_RETURN: u32 = 8;

/// Checks what runs when `program` does; the bytes of stack of its deepest path of calls. A callback's frame counts from zero,
/// because some run on a stack of their own.
pub(super) fn check(decoded: &Decoded<'_>, program: usize, functions: &BTreeSet<usize>, findings: &mut Vec<Diagnostic>) -> u32 {
    findings.extend(functions.iter().flat_map(|function| pointer_calls(decoded, *function)));
    findings.extend(callbacks(decoded, functions));
    for function in functions.iter().filter(|function| **function != program && jumps(decoded, **function).is_some()) {
        findings.extend(return_type(decoded, *function));
    }
    findings.extend(functions.iter().flat_map(|function| lost_verdicts(decoded, *function)));
    frames(decoded, program, findings)
}

/// The first instruction of a function that jumps.
fn jumps(decoded: &Decoded<'_>, function: usize) -> Option<usize> {
    decoded.flows[function].tail_calls.first().map(|call| call.at)
}

fn pointer_calls(decoded: &Decoded<'_>, function: usize) -> Vec<Diagnostic> {
    let name = decoded.function(function).name;
    let finding = |at: &usize| {
        decoded
            .finding(function, *at, format!("`{name}` calls a function through a pointer"))
            .note("no kernel runs such calls; without optimisation, clang makes one of every call of a helper")
            .help("call the function by its name, and compile with `-O1` or more")
    };
    decoded.flows[function].pointer_calls.iter().map(finding).collect()
}

/// A jump would leave the kernel's loop around a callback; 6.18 even reports a bug of its own.
fn callbacks(decoded: &Decoded<'_>, functions: &BTreeSet<usize>) -> Vec<Diagnostic> {
    let taken = functions.iter().flat_map(|function| &decoded.flows[*function].callbacks);
    let roots: BTreeSet<usize> = taken.copied().collect();
    let inside = decoded.reachable(roots.iter().copied());
    let finding = |(function, at): (usize, usize)| {
        let name = decoded.function(function).name;
        let what = if roots.contains(&function) { "is a callback" } else { "runs in a callback" };
        decoded
            .finding(function, at, format!("`{name}` {what}, and callbacks cannot jump"))
            .help("let the callback return a value, and jump behind the helper that called it")
    };
    inside.into_iter().filter_map(|function| Some((function, jumps(decoded, function)?))).map(finding).collect()
}

/// What the program jumped to returns comes back as what this function returns, so it must be an integer.
fn return_type(decoded: &Decoded<'_>, function: usize) -> Option<Diagnostic> {
    let at = jumps(decoded, function)?;
    let name = decoded.function(function).name;
    match returns_integer(decoded, function) {
        Some(true) => None,
        Some(false) => Some(
            decoded
                .finding(function, at, format!("`{name}` jumps, and returns something else than an integer"))
                .note("what the program jumped to returns is what the function returns")
                .help(format!("let `{name}` return `int`, and its caller return that")),
        ),
        None => Some(
            decoded
                .finding(function, at, format!("`{name}` jumps, and the object does not tell its return type"))
                .help("compile with `-g`; the kernel wants to know the type"),
        ),
    }
}

fn returns_integer(decoded: &Decoded<'_>, function: usize) -> Option<bool> {
    let btf = decoded.btf.as_ref()?;
    let ty = btf.get(decoded.function_type(function)?)?;
    let prototype = btf.get(ty.size_or_type).filter(|prototype| prototype.kind == Kind::Prototype)?;
    let returned = btf.resolve(prototype.size_or_type)?;
    Some(matches!(returned.kind, Kind::Int | Kind::Enum) && returned.size_or_type <= MAX_RETURN)
}

/// Calls of functions that jump, whose result nobody reads. Either the source ignores it, or LLVM saw that the function returns
/// a constant where the jump misses and put that constant in place of the result. Not seen here: a constant put in place on some paths
/// only, which `OURO_JUMP` prevents and a bare `bpf_tail_call` does not.
fn lost_verdicts(decoded: &Decoded<'_>, caller: usize) -> Vec<Diagnostic> {
    let calls = decoded.flows[caller].calls.iter().filter(|call| !call.is_result_read);
    let lost = calls.filter_map(|call| Some((call, jumps(decoded, call.callee)?)));
    let name = decoded.function(caller).name;
    let finding = |(call, at): (&Call, usize)| {
        let callee = decoded.function(call.callee).name;
        let mut finding = decoded
            .finding(caller, call.at, format!("`{name}` loses the verdict of the program that `{callee}` jumps to"))
            .note(format!("the compiled `{name}` never reads what `{callee}` returns"))
            .help(format!("write `return {callee}(...);`, and jump with `OURO_JUMP`, or make `{callee}` `__weak`"));
        if let Some(span) = decoded.span(call.callee, at) {
            finding = finding.related(&span, "the jump");
        }
        finding
    };
    lost.map(finding).collect()
}

/// Walks down from the program frame by frame, keeping for each function the deepest stack above it.
fn frames(decoded: &Decoded<'_>, program: usize, findings: &mut Vec<Diagnostic>) -> u32 {
    let mut told = BTreeSet::new();
    let mut layer = BTreeMap::from([(program, 0u32)]);
    let mut deepest = 0;
    for frame in 0..MAX_FRAMES {
        let mut next: BTreeMap<usize, u32> = BTreeMap::new();
        for (function, above) in layer {
            let total = above.saturating_add(decoded.flows[function].stack.next_multiple_of(FRAME_ALIGN));
            deepest = deepest.max(total);
            let finding = frame_finding(decoded, function, frame, above, total);
            findings.extend(finding.filter(|_| told.insert(function)));
            for call in &decoded.flows[function].calls {
                let known = next.entry(call.callee).or_default();
                *known = total.max(*known);
            }
        }
        layer = next;
    }
    findings.extend(layer.keys().next().map(|function| too_many_frames(decoded, program, *function)));
    deepest
}

fn frame_finding(decoded: &Decoded<'_>, function: usize, frame: usize, above: u32, total: u32) -> Option<Diagnostic> {
    let name = decoded.function(function).name;
    let remedy = "move large buffers into a per-CPU map, or inline the functions between";
    if let Some(at) = jumps(decoded, function).filter(|_| frame > 0 && above >= MAX_ABOVE_JUMP) {
        let message =
            format!("`{name}` jumps with {above} bytes of stack in its callers; the kernel allows less than {MAX_ABOVE_JUMP}");
        return Some(decoded.finding(function, at, message).help(remedy));
    }
    let callers = if frame == 0 { String::new() } else { format!(", {above} of them in its callers") };
    let message = format!("`{name}` needs {total} bytes of stack{callers}; the kernel has {MAX_STACK}");
    (total > MAX_STACK).then(|| decoded.function_finding(function, message).help(remedy))
}

fn too_many_frames(decoded: &Decoded<'_>, program: usize, function: usize) -> Diagnostic {
    let (program, name) = (decoded.function(program).name, decoded.function(function).name);
    decoded
        .function_finding(function, format!("`{program}` reaches `{name}` through more than {MAX_FRAMES} functions"))
        .note("the kernel allows no recursion, and no deeper calls")
        .help("make some of the functions between `static __always_inline`")
}

//! What to change in C, by what the verifier says: its words speak of registers.
//!
//! A table; a new message is a line. The first line that fits is taken, so that what is special stands before what is general.

/// What to do about a message; `message` is one line of the log, `registers` what those held that it names: `R1=pkt(r=0)`.
pub(super) fn find(message: &str, registers: &[String]) -> Option<&'static str> {
    of_pointer(message, registers).or_else(|| of_message(message))
}

/// What to do about a register that is no pointer, by what it was when it was printed last.
fn of_pointer(message: &str, registers: &[String]) -> Option<&'static str> {
    let register = message.strip_suffix(" invalid mem access 'scalar'").or(message.strip_suffix(" invalid mem access 'inv'"))?;
    let held = registers.iter().find_map(|held| held.strip_prefix(register)?.strip_prefix('='))?;
    let is = |kind: &&str| held == *kind || (kind.ends_with('(') && held.starts_with(*kind));
    POINTERS.iter().find(|(kinds, _)| kinds.iter().any(&is)).map(|(_, hint)| *hint)
}

fn of_message(message: &str) -> Option<&'static str> {
    HINTS.iter().find(|(parts, _)| parts.iter().all(|part| message.contains(part))).map(|(_, hint)| *hint)
}

/// Where in a line a message begins that stands behind other words, by the first part of it that is known; none if the line has no
/// such message.
pub(super) fn begins(line: &str) -> Option<usize> {
    let (parts, _) = HINTS.iter().find(|(parts, _)| parts.iter().all(|part| line.contains(part)))?;
    line.find(parts.first()?).filter(|at| *at > 0)
}

/// What a register held, or how that began, and what to change. Kernels before 5.19 write `inv0`, some `invP0`.
const POINTERS: &[(&[&str], &str)] = &[
    // A helper that may move the packet makes numbers of all pointers into it, which no line of the log says.
    (
        &["pkt(", "pkt_meta("],
        "a helper called before may move the packet, so that what pointed into it does no more: load `ctx->data` and `ctx->data_end` \
         anew after the call, and compare them again",
    ),
    (
        &["0", "P0", "inv0", "invP0"],
        "the pointer is NULL on this path: the comparison with NULL is missing, or the wrong way round",
    ),
];

/// Parts of a message, all of which it has, and what to change.
const HINTS: &[(&[&str], &str)] = &[
    // What stands where a relocation found nothing, as libbpf writes it, too, and where a weak function is missing.
    (&["unknown#195896080"], "the kernel has no such type or member: ask with `bpf_core_field_exists` or its like first"),
    (&["unknown#2001"], "the kernel has no such function: compare its address with NULL before calling it"),
    // Pointers.
    (&["invalid mem access 'map_value_or_null'"], "compare what the lookup returned with NULL before using it"),
    (&["invalid mem access '", "_or_null'"], "compare the pointer with NULL before using it: the helper may return none"),
    (
        &["type=", "_or_null expected="],
        "compare the pointer with NULL before passing it on: the helper that made it may return none",
    ),
    (
        &["invalid mem access 'scalar'"],
        "this is a number to the verifier: read kernel memory with `BPF_CORE_READ`, and do not compute pointers from integers",
    ),
    (
        &["invalid mem access 'inv'"],
        "this is a number to the verifier: read kernel memory with `BPF_CORE_READ`, and do not compute pointers from integers",
    ),
    (
        &["pointer arithmetic", "prohibited"],
        "compute with a number and add it to the pointer last; only + and - of numbers are allowed on pointers",
    ),
    (
        &["makes", "pointer be out of bounds"],
        "bound the index from both sides before adding it: make it unsigned, and compare or mask it (`i & 63`)",
    ),
    (
        &["write into map forbidden"],
        "this map is read-only for programs: a `const` global cannot be written; make it a plain global",
    ),
    // Packets.
    (
        &["invalid mem access 'pkt_end'"],
        "`ctx->data_end` is only to be compared with: read through a pointer made from `ctx->data`",
    ),
    (
        &["invalid access to packet"],
        "compare the end of what you read with `ctx->data_end` before reading it: `if (p + 1 > data_end) return ...`; bound variable offsets below 64 kB first (`off & 0x1fff`)",
    ),
    (
        &["offset is outside of the packet"],
        "compare the end of what you read with `ctx->data_end` before reading it: `if (p + 1 > data_end) return ...`; bound variable offsets below 64 kB first (`off & 0x1fff`)",
    ),
    (&["offset is outside of the allowed memory range"], "the access ends behind the object; compare the offset with its size"),
    // Bounds.
    (
        &["max value is outside of the allowed memory range"],
        "bound the index below the size of what is accessed: `if (i >= sizeof(v->bytes)) return ...;`, or a mask that is smaller",
    ),
    (
        &["unbounded memory access"],
        "compare the index with a constant before using it, or mask it (`i & 63`), in the same variable and type that is used",
    ),
    (
        &["min value is negative"],
        "make the length or index unsigned, or check `< 0` as well; compilers may sign-extend an `int`, so use `__u32` or `__u64`",
    ),
    (&["invalid access to map value"], "bound the index below the size of the map's value before using it"),
    (&["unbounded min value"], "check the lower bound, too: make the variable unsigned"),
    (&["unbounded variable-offset"], "bound the index into the array on the stack: compare it, or mask it"),
    (&["invalid zero-sized read"], "the length may be 0: check that it is not before the call"),
    // The stack.
    (
        &["invalid indirect read from stack"],
        "initialise all bytes of what is passed, padding too: `struct key k = {};` or `__builtin_memset(&k, 0, sizeof(k))`",
    ),
    (
        &["invalid indirect access to stack"],
        "the buffer on the stack is smaller than what the helper reads or writes; check the length",
    ),
    (
        &["invalid read from stack"],
        "this reads behind or before an array on the stack, or bytes nothing was written to; check the index, initialise the variable",
    ),
    (
        &["invalid write to stack"],
        "this writes behind an array on the stack, or the stack's 512 bytes are used up: put large buffers into a per-CPU array map",
    ),
    (
        &["slot poisoned by dead code elimination"],
        "this kernel takes the variable for unused after the calls before, and so has not kept it: pass a global variable here",
    ),
    (&["invalid stack"], "this is outside of the stack's 512 bytes: put large buffers into a per-CPU array map"),
    (
        &["combined stack size"],
        "functions that call each other share 512 bytes of stack: put large buffers into a per-CPU array map, or inline with `__always_inline`",
    ),
    (
        &["call stack of previous frames"],
        "a function that jumps to another program may have only 256 bytes of stack above it: make frames smaller, or jump from the program itself",
    ),
    (&["the call stack of", "frames is too deep"], "at most 8 functions may be nested; inline some with `__always_inline`"),
    (
        &["misaligned"],
        "access a multiple of the size, or copy bytewise with `__builtin_memcpy`; `__attribute__((packed))` structs do this by themselves",
    ),
    // Control flow and size.
    (&["infinite loop detected"], "give the loop a constant bound"),
    (
        &["back-edge"],
        "this kernel takes no loops, or not this one: give it a constant bound and `#pragma unroll`, or use `bpf_loop`",
    ),
    (&["unreachable insn"], "code behind a `return` or an endless loop is left in inline assembly; remove it"),
    (
        &["last insn is not an exit or jmp"],
        "the function ends without `return`: inline assembly or `__builtin_unreachable()` lets control run out of it",
    ),
    (&["jump out of range"], "inline assembly jumps out of its function"),
    (
        &["BPF program is too large"],
        "verifying it takes more than a million steps: loop less often, use `bpf_loop`, or split it: each program of a chain has a budget of its own",
    ),
    (
        &["The sequence of", "jumps is too complex"],
        "there are too many branches to follow: split the program: each program of a chain has a budget of its own",
    ),
    (
        &["too many states"],
        "there are too many branches to follow: split the program: each program of a chain has a budget of its own",
    ),
    (
        &["R0 !read_ok"],
        "every path of the program must return a verdict, and a called function a value: look for a missing `return`",
    ),
    (&["!read_ok"], "the variable has no value on this path, or a call has overwritten its register: initialise it"),
    (
        &["At program exit the register R0", "should have been in"],
        "this hook takes only the returned values named here: return constants of its own, not those of XDP",
    ),
    (&["At async callback the register R0"], "the callback must return 0"),
    (&["At callback return the register R0"], "the callback of a loop returns 0 to go on and 1 to stop"),
    // The context.
    (
        &["invalid bpf_context access"],
        "this field of the context cannot be read or written by programs of this type, or not with this size; copying the whole struct does not work either",
    ),
    (&["dereference of modified ctx ptr"], "read fields of `ctx` by name, at constant offsets: no array or loop over it"),
    (&["ctx", "access", "not allowed"], "this field of the context cannot be used by programs of this type"),
    // Helpers.
    (
        &["cannot call GPL-restricted function"],
        "the object's license must be compatible with the GPL: `char _license[] SEC(\"license\") = \"GPL\";`",
    ),
    (
        &["program of this type cannot use helper"],
        "another helper does this for the type of the program, or it belongs into a program of another type: `man 7 bpf-helpers`",
    ),
    (
        &["unknown func"],
        "this kernel, or this type of program, does not have the helper: check it with `bpf_core_enum_value_exists`, or ask for a newer kernel with `min_kernel`",
    ),
    (&["invalid func"], "there is no helper of this number; this kernel may be older than the headers"),
    (
        &["helper call is not allowed in probe"],
        "this helper needs a program that may sleep, or that may not; choose the section with or without `.s`",
    ),
    (&["helper call might sleep"], "this helper needs a program that may sleep: the section that ends in `.s`"),
    (
        &["calling kernel function", "is not allowed"],
        "programs of this type may not call this kernel function; one of another type may",
    ),
    (&["kernel function", "is not allowed"], "programs of this type may not call this kernel function"),
    (
        &["kernel btf_id", "is not a function"],
        "this kernel has no such function: declare it `__weak`, and ask `bpf_ksym_exists` before the call",
    ),
    (
        &["failed to find kernel BTF type ID"],
        "this kernel does not have it: declare it `__weak`, and ask `bpf_ksym_exists` or `bpf_core_type_exists` first",
    ),
    (
        &["attach_btf_id", "is not"],
        "this kernel has no such function or hook to attach to; `ouro doctor --kernel` says what there is",
    ),
    (
        &["type=", "expected="],
        "the helper takes a pointer of another kind here: a buffer on the stack, in a map's value, or in the packet after its bounds were checked",
    ),
    // What must be given back.
    (&["tail_call would lead to reference leak"], "release what was acquired before jumping to another program"),
    (
        &["Unreleased reference"],
        "release on every path what was acquired: `bpf_ringbuf_submit` or `_discard`, `bpf_sk_release`, ..., early returns too",
    ),
    (
        &["would lead to reference leak"],
        "release on every path what was acquired: `bpf_ringbuf_submit` or `_discard`, `bpf_sk_release`, ..., early returns too",
    ),
    (
        &["bpf_spin_lock-ed region"],
        "call `bpf_spin_unlock` on every path before leaving, early returns and jumps to other programs too",
    ),
    (
        &["function calls are not allowed while holding a lock"],
        "call nothing between `bpf_spin_lock` and `bpf_spin_unlock`: compute before, store within",
    ),
    (
        &["bpf_spin_unlock is missing"],
        "call `bpf_spin_unlock` on every path before leaving, early returns and jumps to other programs too",
    ),
    (&["is not sleepable"], "nothing that is attached there may sleep, on this kernel at least: take the section without `.s`"),
    (
        &["programs can be sleepable"],
        "on this kernel programs of this type may not sleep: take the section without `.s`, or ask for a newer kernel with `min_kernel`",
    ),
    (
        &["number of funcs in func_info doesn't match"],
        "this kernel takes no functions as arguments: callbacks of helpers such as `bpf_loop` came with Linux 5.13",
    ),
    (
        &["Sleepable programs can only use"],
        "a program that may sleep cannot jump: take the section without `.s`, or give it no `jumps`",
    ),
    (
        &["tail_calls are not allowed in"],
        "jumps are not possible here: on this machine only from the program itself, not from functions it calls",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_no_null_and_another_register_is_another_one() {
        let said = |held: &str| of_pointer("R1 invalid mem access 'scalar'", &[held.to_owned()]);
        assert!(said("R1=0").is_some() && said("R1=pkt(off=4,r=0)").is_some());
        assert_eq!([said("R1=0xffff0000"), said("R10=0"), said("R1=scalar()")], [None; 3]);
    }

    /// What stands behind a more general message is never said.
    #[test]
    fn no_hint_hides_another() {
        for (parts, hint) in HINTS {
            assert_eq!(find(&parts.join(" "), &[]), Some(*hint), "{parts:?}");
        }
    }
}

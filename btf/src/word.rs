//! Words of C: which names can stand in a header as they are.

/// Words that C keeps for itself, and the types a compiler has defined before it reads the first line.
pub(crate) fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "alignof"
            | "asm"
            | "auto"
            | "break"
            | "case"
            | "char"
            | "const"
            | "continue"
            | "default"
            | "do"
            | "double"
            | "else"
            | "enum"
            | "extern"
            | "float"
            | "for"
            | "goto"
            | "if"
            | "inline"
            | "int"
            | "long"
            | "register"
            | "restrict"
            | "return"
            | "short"
            | "signed"
            | "sizeof"
            | "static"
            | "struct"
            | "switch"
            | "typedef"
            | "typeof"
            | "union"
            | "unsigned"
            | "void"
            | "volatile"
            | "while"
            | "_Alignas"
            | "_Alignof"
            | "_Atomic"
            | "_Bool"
            | "_Complex"
            | "_Generic"
            | "_Imaginary"
            | "_Noreturn"
            | "_Static_assert"
            | "_Thread_local"
            | "__asm__"
            | "__attribute__"
            | "__builtin_va_list"
            | "__int128"
            | "__int128_t"
            | "__typeof__"
            | "__uint128_t"
            | "__volatile__"
    )
}

/// Words that C keeps for itself since C23. Kernels have had them as names for longer.
pub(crate) fn is_new(name: &str) -> bool {
    matches!(name, "bool" | "true" | "false" | "alignas" | "alignof" | "constexpr" | "nullptr" | "static_assert" | "thread_local")
}

/// Whether a name can stand in C as it is.
pub(crate) fn is_plain(name: &str) -> bool {
    let starts = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    name.as_bytes().first().is_some_and(starts)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !is_reserved(name)
}

/// Something like the name that can.
pub(crate) fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let first = name.chars().next().filter(char::is_ascii_digit).map(|_| '_');
    first.into_iter().chain(name.chars().map(plain)).collect::<String>() + if is_reserved(name) { "_" } else { "" }
}

//! Probes that authors of programs declare (`usdt`), as `sys/sdt.h` does.

/// A probe with a note that says where its arguments are.
macro_rules! declare {
    ($name:literal, $arguments:literal $(, $($operand:tt)*)?) => {
        // SAFETY: an instruction without effect.
        unsafe {
            std::arch::asm!(
                "990: nop",
                ".pushsection .note.stapsdt, \"\", \"note\"",
                ".balign 4",
                ".4byte 992f-991f, 994f-993f, 3",
                "991: .asciz \"stapsdt\"",
                "992: .balign 4",
                "993: .8byte 990b",
                ".8byte 0",
                ".8byte 0",
                ".asciz \"ouro\"",
                concat!(".asciz \"", $name, "\""),
                concat!(".asciz \"", $arguments, "\""),
                "994: .balign 4",
                ".popsection",
                $($($operand)*)?
            )
        }
    };
}

//! The text of `<ouro/program.h>`.

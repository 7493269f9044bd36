//! The workspace: its root folder and `ouro.toml`.

//! Loads objects with aya: one program of an object at a time, on maps that are pinned already.
//!
//! Knows nothing of slots and generations.

use std::io;
use std::path::{Path, PathBuf};

use aya::maps::MapError;
use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfError, EbpfLoader};

use super::{elf, sys};
use crate::Error;
use crate::rejection::Rejection;

/// Loads the objects of one deployment. There is one for all of them, as making one reads the kernel's BTF (about 20 ms).
pub(crate) struct Loader<'a> {
    aya: EbpfLoader<'a>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new() -> Loader<'a> {
        sys::lift_memory_limit();
        let mut aya = EbpfLoader::new();
        // Map types aya has no interface for are no less useful to programs.
        aya.allow_unsupported_maps();
        Loader { aya }
    }

    /// From now on a map of this name in an object is the one pinned at `pin`, whatever the object says of it.
    pub(crate) fn hand_in(&mut self, map: &'a str, pin: PathBuf) {
        self.aya.map_pin_path(map, pin);
    }

    /// Loads one function of an object and pins it. `program` is its name, for messages.
    pub(crate) fn load(&mut self, object: &[u8], program: &str, function: &str, pin: &Path) -> Result<(), Error> {
        let mut object = self.open(object, program)?;
        let missing = || Error::Object { of: program.to_owned(), reason: format!("it has no function `{function}`") };
        let found = object.program_mut(function).ok_or_else(missing)?;
        load_by_type(found).map_err(|error| not_loaded(program, error))?;
        found.pin(pin).map_err(|error| Error::io(format!("cannot pin `{}`", pin.display()), pin_error(error)))
    }

    fn open(&mut self, object: &[u8], of: &str) -> Result<Ebpf, Error> {
        self.aya.load(&elf::readable(object)).map_err(|error| not_opened(of, error))
    }
}

fn load_by_type(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn not_loaded(program: &str, error: ProgramError) -> Error {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            if log.trim().is_empty() {
                return Error::io(format!("cannot load `{program}`"), io_error);
            }
            Error::Rejected(Box::new(Rejection::new(program, &io_error, log)))
        }
        ProgramError::UnexpectedProgramType => {
            Error::Object { of: program.to_owned(), reason: "only XDP and TC programs can be deployed".to_owned() }
        }
        other => Error::Object { of: program.to_owned(), reason: chain(&other) },
    }
}

fn not_opened(of: &str, error: EbpfError) -> Error {
    match error {
        EbpfError::MapError(MapError::CreateError { name, io_error }) => {
            Error::io(format!("cannot create the map `{name}` of `{of}`"), io_error)
        }
        other => Error::Object { of: of.to_owned(), reason: chain(&other) },
    }
}

fn pin_error(error: aya::pin::PinError) -> io::Error {
    match error {
        aya::pin::PinError::SyscallError(error) => error.io_error,
        other => io::Error::other(chain(&other)),
    }
}

/// An error with everything that caused it.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

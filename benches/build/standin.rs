//! A compiler that takes no time: answers what ouro asks of clang, and copies an object that the real one made. With it a
//! workspace of 10,000 programs is built in seconds, and what is measured is the build system.

use std::fs;
use std::path::{Path, PathBuf};

use crate::measure::run;
use crate::workspace::{Shape, Workspace};

const SOURCE: &str = r##"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char object[1 << 16];

int main(int argc, char **argv)
{
	const char *out = 0, *depfile = 0, *in = 0;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--version"))
			return puts("stand-in clang version 19.1.7") < 0;
		if (!strcmp(argv[i], "-print-resource-dir"))
			return puts(FOLDER) < 0;
		if (!strcmp(argv[i], "-E"))
			return fputs("#include <...> search starts here:\n " FOLDER "/include\nEnd of search list.\n", stderr) < 0;
		if (!strcmp(argv[i], "-o")) out = argv[++i];
		else if (!strcmp(argv[i], "-MF")) depfile = argv[++i];
		else if (!strcmp(argv[i], "-c")) in = argv[++i];
	}
	int from = open(FOLDER "/object.o", O_RDONLY), to = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	ssize_t size = read(from, object, sizeof object);
	if (size <= 0 || write(to, object, size) != size)
		return 1;
	int deps = open(depfile, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	return dprintf(deps, "%s: %s lib/lib.h\n", out, in) < 0;
}
"##;

/// Builds it in `folder`; its object is made by the real clang.
pub fn build(folder: &Path) -> PathBuf {
    let one = Workspace::generate(folder.join("one"), Shape::Alone(1), "");
    let words = &one.compile_commands()[0];
    run(std::process::Command::new(&words[0]).args(&words[1..]).current_dir(&one.root));
    let made = words.iter().position(|word| word == "-o").map(|at| &words[at + 1]).expect("an output");
    fs::copy(one.root.join(made), folder.join("object.o")).expect("an object");
    fs::create_dir_all(folder.join("include")).expect("a folder");
    fs::write(folder.join("standin.c"), SOURCE).expect("a source");
    let folder_is = format!("-DFOLDER=\"{}\"", folder.display());
    let program = folder.join("clang");
    // Static: half the time of a small program is the dynamic linker's.
    run(std::process::Command::new("cc")
        .args(["-O2", "-static", &folder_is, "standin.c", "-o"])
        .arg(&program)
        .current_dir(folder));
    program
}

// SPDX-License-Identifier: MIT OR Apache-2.0
// The other half of `pair.c`.
#include "vmlinux.h"
#include <ouro/program.h>
#include <bpf/bpf_core_read.h>

int threads(struct task_struct *task)
{
    return BPF_CORE_READ(task, signal, nr_threads);
}

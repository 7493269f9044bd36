// SPDX-License-Identifier: MIT OR Apache-2.0
// Types as other kernels have them.
#pragma once

struct task_struct___old {
    long state;
} __attribute__((preserve_access_index));

struct task_struct___new {
    unsigned int __state;
} __attribute__((preserve_access_index));

// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

struct sender {
    __u32 pid;
    __u32 parent;
    char name[16];
};

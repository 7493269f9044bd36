// SPDX-License-Identifier: MIT OR Apache-2.0
// What the programs tell.
#pragma once

struct event {
    __u32 pid;
    __u32 parent;
    __u64 inode;
    char name[16];
};

#define SEND(format, args...) bpf_printk(format, ##args)

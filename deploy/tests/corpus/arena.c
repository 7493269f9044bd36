// Variables in an arena: initialised, zero, static, and far behind the first page.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define __arena __attribute__((address_space(1)))

struct {
	__uint(type, 33); /* BPF_MAP_TYPE_ARENA */
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
} arena SEC(".maps");

int __arena started = 41;
long __arena zero;
static char __arena text[8192] = "arena";

SEC("syscall") int counts(void *ctx)
{
	zero += text[started];
	return ++started;
}

char _license[] SEC("license") = "GPL";

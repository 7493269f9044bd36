#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char _license[] SEC("license") = "GPL";

SEC("xdp") int p(struct xdp_md *ctx)
{
	char bytes[16] = {};
	asm volatile("" : : "r"(bytes) : "memory");
	return *(volatile char *)(bytes + 40);
}

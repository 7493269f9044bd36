// Variables in every kind of section, and a string among constants.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile int limit = 7;
const volatile char name[8] SEC(".rodata.names") = "ouro";
static volatile int seen;
int total SEC(".data.totals") = 3;
long long sums[4];

SEC("xdp")
int data(struct xdp_md *ctx)
{
	seen++;
	sums[1] += total;
	if (name[0] == 'o')
		bpf_printk("%d of %d", seen, limit);
	return limit == 7 ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";

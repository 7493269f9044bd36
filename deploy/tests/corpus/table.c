// A table of programs that the source fills itself.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int pass(struct xdp_md *ctx);
int drop(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 8);
	__uint(key_size, 4);
	__array(values, int(void *));
} table SEC(".maps") = { .values = { [1] = (void *)&pass, [7] = (void *)&drop } };

SEC("xdp")
int entry(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &table, 7);
	return XDP_ABORTED;
}

SEC("xdp/pass")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp/drop")
int drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";

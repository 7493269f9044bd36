// Functions of all kinds: static and global, called from two programs, given as a callback, and one program called by another.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static __attribute__((noinline)) int add(int a, int b)
{
	volatile int sum = a;
	return sum + b;
}

__attribute__((noinline)) int twice(int a)
{
	return add(a, a);
}

static long each(unsigned int index, void *sum)
{
	*(int *)sum += twice(index);
	return 0;
}

SEC("xdp")
int first(struct xdp_md *ctx)
{
	int sum = 0;
	bpf_loop(4, each, &sum, 0);
	return sum > 100 ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int second(struct xdp_md *ctx)
{
	return first(ctx) == XDP_PASS ? add(1, 1) : XDP_DROP;
}

SEC("tc")
int third(struct __sk_buff *skb)
{
	return twice(0);
}

char _license[] SEC("license") = "GPL";

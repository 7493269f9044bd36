// Types as a program sees them, and, with KERNEL, as another kernel has them. What differs from the numbers that are expected
// ends in a loop that no verifier takes.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct part;

#ifdef KERNEL
enum kinds { FEW, MANY };

struct thing {
	long pad;
	unsigned long long narrow;
	long state;
	int level;
	int grid[4][3];
	enum kinds kind;
	unsigned long before : 5, flag : 3;
	struct part *parts[];
} thing;

struct same {
	int first;
	union {
		long second;
		char third;
	};
	struct thing *thing;
	union {
		int fourth;
		long fifth;
	};
} same;

struct other {
	long first;
} other;

struct twice {
	int at;
} twice;

struct twice___b {
	long before;
	int at;
} twice_b;

enum wide { NARROW = 1, WIDE = 0x123456789 } wide;
struct typed *(*callback)(struct thing *, int);
typedef int (*callback_t)(struct thing *, int);
callback_t typed;
#else
struct thing {
	int state;
	int level;
	unsigned narrow;
	int grid[2][3];
	enum { FEW, MANY } kind;
	unsigned flag : 3;
	struct part *parts[];
} __attribute__((preserve_access_index));

struct thing___flavour {
	int level;
} __attribute__((preserve_access_index));

struct same {
	struct thing *thing;
	union {
		long fifth;
	};
	int first;
};

struct other {
	int first;
};

struct twice {
	int at;
} __attribute__((preserve_access_index));

struct absent {
	int at;
} __attribute__((preserve_access_index));

enum wide { NARROW = 1, WIDE = 2 };
typedef int (*callback_t)(struct thing *, int);

#define EXPECT(what) \
	if (!(what)) \
		for (;;) \
			bpf_printk("%d", __LINE__)

SEC("xdp")
int fields(struct xdp_md *ctx)
{
	struct thing *thing = 0;
	struct thing___flavour *flavour = 0;

	EXPECT(bpf_core_field_offset(thing->state) == 16 && bpf_core_field_offset(flavour->level) == 24);
	EXPECT(bpf_core_field_size(thing->grid) == 48 && bpf_core_field_offset(thing->grid[1][2]) == 48);
	EXPECT(bpf_core_field_offset(thing->parts[0]) == 88 && bpf_core_field_offset(thing->parts[2]) == 104);
	EXPECT(bpf_core_field_exists(thing->kind) && bpf_core_field_exists(thing->parts[7]));
	EXPECT(__CORE_RELO(thing, flag, LSHIFT_U64) == 56 && __CORE_RELO(thing, flag, RSHIFT_U64) == 61);
	EXPECT(__CORE_RELO(thing, flag, BYTE_OFFSET) == 80 && !__CORE_RELO(thing, flag, SIGNED));
	EXPECT(__CORE_RELO(thing, state, SIGNED));
	return XDP_PASS;
}

SEC("xdp")
int types(struct xdp_md *ctx)
{
	struct absent *absent = 0;

	EXPECT(bpf_core_type_exists(struct thing) && bpf_core_type_exists(callback_t) && !bpf_core_type_exists(struct absent));
	EXPECT(bpf_core_type_size(struct same) == 32 && bpf_core_type_size(struct absent) == 0);
	EXPECT(bpf_core_type_matches(struct same) && !bpf_core_type_matches(struct other));
	EXPECT(!bpf_core_type_matches(struct absent) && bpf_core_type_matches(callback_t));
	EXPECT(bpf_core_enum_value(enum wide, WIDE) == 0x123456789 && bpf_core_enum_value_exists(enum wide, NARROW));
	EXPECT(!bpf_core_field_exists(absent->at));
	return XDP_PASS;
}

// Its size is another one, and it has a sign: what reads it must not be reached, and is not.
SEC("xdp")
int guarded(struct xdp_md *ctx)
{
	struct thing *thing = (void *)(long)ctx->data;

	if (bpf_core_field_size(thing->state) == 4)
		return thing->state;
	return XDP_PASS;
}

SEC("xdp")
int unguarded(struct xdp_md *ctx)
{
	struct thing *thing = (void *)(long)ctx->data;

	return (void *)(thing + 1) <= (void *)(long)ctx->data_end ? thing->state : XDP_PASS;
}

// Eight bytes are read where four were written down.
SEC("xdp")
int wider(struct xdp_md *ctx)
{
	struct thing *thing = (void *)(long)ctx->data;

	return (void *)thing + 16 <= (void *)(long)ctx->data_end ? thing->narrow : XDP_PASS;
}

SEC("xdp")
int too_wide(struct xdp_md *ctx)
{
	struct thing *thing = (void *)(long)ctx->data;

	return (void *)thing + 12 <= (void *)(long)ctx->data_end ? thing->narrow : XDP_PASS;
}

SEC("xdp")
int ambiguous(struct xdp_md *ctx)
{
	struct twice *twice = 0;

	return bpf_core_field_offset(twice->at);
}

char _license[] SEC("license") = "GPL";
#endif

// SPDX-License-Identifier: MIT OR Apache-2.0
// The entry: reads the headers once, for all programs of the chain.
#include <ouro/program.h>
#include <bpf/bpf_endian.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "packet.h"
#include "verdict.h"

#define MAX_TAGS 2       // stacked VLAN tags
#define MAX_EXTENSIONS 6 // IPv6 extension headers; more are not seen in honest traffic
#define IPV4_OFFSET 0x1fff
#define IPV6_OFFSET 0xfff8
#define ND_FIRST 133 // router solicitation
#define ND_LAST 137  // redirect

enum outcome {
    FILTER,  // an IP packet: ask the block list
    CONTROL, // what keeps the link alive: never filtered
    BAD,     // cut short or nonsense
};

struct vlan_tag {
    __be16 control;
    __be16 proto;
};

struct extension {
    __u8 next;
    __u8 length; // in units of 8 bytes, not counting the first
};

struct fragment {
    __u8 next;
    __u8 reserved;
    __be16 offset;
    __be32 id;
};

// The part of the packet not read yet.
struct cursor {
    void *at;
    void *end;
};

// The next `size` bytes, or a null pointer when the packet is shorter.
static __always_inline void *take(struct cursor *rest, __u32 size)
{
    void *at = rest->at;

    if (at + size > rest->end)
        return 0;
    rest->at = at + size;
    return at;
}

// The destination port, which TCP, UDP and SCTP have at the same place.
static __always_inline enum outcome read_port(struct cursor *rest, struct packet *packet)
{
    __be16 *ports;

    if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP && packet->protocol != IPPROTO_SCTP)
        return FILTER;
    ports = take(rest, 2 * sizeof(*ports));
    if (!ports)
        return BAD;
    packet->port = bpf_ntohs(ports[1]);
    return FILTER;
}

static __always_inline enum outcome read_ipv4(struct cursor *rest, struct packet *packet)
{
    struct iphdr *ip = take(rest, sizeof(*ip));

    if (!ip || ip->version != 4 || ip->ihl < 5)
        return BAD;
    rest->at = (void *)ip + ip->ihl * 4; // past the options; whoever reads on looks for the end
    packet->protocol = ip->protocol;
    packet->source.words[2] = bpf_htonl(0xffff);
    packet->source.words[3] = ip->saddr;
    // Only the first fragment has ports; the others are judged by their source alone.
    return ip->frag_off & bpf_htons(IPV4_OFFSET) ? FILTER : read_port(rest, packet);
}

// Skips extension headers. Leaves the transport protocol in `packet`, or IPPROTO_FRAGMENT for a later fragment.
static __always_inline enum outcome skip_extensions(struct cursor *rest, struct packet *packet)
{
    for (int i = 0; i < MAX_EXTENSIONS; i++) {
        struct extension *extension;
        struct fragment *fragment;

        switch (packet->protocol) {
        case IPPROTO_HOPOPTS:
        case IPPROTO_ROUTING:
        case IPPROTO_DSTOPTS:
            extension = take(rest, sizeof(*extension));
            if (!extension || !take(rest, extension->length * 8 + 8 - sizeof(*extension)))
                return BAD;
            packet->protocol = extension->next;
            break;
        case IPPROTO_FRAGMENT:
            fragment = take(rest, sizeof(*fragment));
            if (!fragment)
                return BAD;
            if (fragment->offset & bpf_htons(IPV6_OFFSET))
                return FILTER;
            packet->protocol = fragment->next;
            break;
        default:
            return FILTER;
        }
    }
    return BAD;
}

static __always_inline enum outcome read_ipv6(struct cursor *rest, struct packet *packet)
{
    struct ipv6hdr *ip = take(rest, sizeof(*ip));

    if (!ip || ip->version != 6)
        return BAD;
    packet->protocol = ip->nexthdr;
    __builtin_memcpy(&packet->source, &ip->saddr, sizeof(packet->source));
    // Neighbour discovery has no extension headers and is sent by a neighbour: nobody decremented its hop limit.
    if (ip->nexthdr == IPPROTO_ICMPV6 && ip->hop_limit == 255) {
        struct icmp6hdr *icmp = take(rest, sizeof(*icmp));

        if (!icmp)
            return BAD;
        return icmp->icmp6_type >= ND_FIRST && icmp->icmp6_type <= ND_LAST ? CONTROL : FILTER;
    }
    if (skip_extensions(rest, packet) == BAD)
        return BAD;
    return read_port(rest, packet);
}

static __always_inline enum outcome read_packet(struct cursor *rest, struct packet *packet)
{
    struct ethhdr *eth = take(rest, sizeof(*eth));
    __be16 proto;

    if (!eth)
        return BAD;
    proto = eth->h_proto;
    for (int i = 0; i < MAX_TAGS && (proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD)); i++) {
        struct vlan_tag *tag = take(rest, sizeof(*tag));

        if (!tag)
            return BAD;
        proto = tag->proto;
    }
    switch (proto) {
    case bpf_htons(ETH_P_IP):
        return read_ipv4(rest, packet);
    case bpf_htons(ETH_P_IPV6):
        return read_ipv6(rest, packet);
    default:
        return CONTROL; // ARP, and what a network card has to do besides IP
    }
}

SEC("xdp")
int parse(struct xdp_md *ctx)
{
    struct cursor rest = {.at = (void *)(long)ctx->data, .end = (void *)(long)ctx->data_end};
    struct packet packet = {};
    enum outcome outcome = read_packet(&rest, &packet);
    __u32 key = 0;

    if (outcome == BAD)
        return decide(MALFORMED);
    if (outcome == CONTROL)
        OURO_JUMP(ctx, allow);
    bpf_map_update_elem(&packet_info, &key, &packet, BPF_ANY);
    OURO_JUMP(ctx, block_list);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

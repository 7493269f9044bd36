# Lines such as `192.0.2.0/24,blocked` to a C function that finds an address' class; what is wrong ends it, with the line.

function wrong(what) {
    print FILENAME ":" FNR ": " what > "/dev/stderr"
    failed = 1
    exit 1
}

BEGIN {
    FS = ","
    print "// Made from routes; do not edit.\n#pragma once\n#include <linux/types.h>\n" > out
    print "enum route_class {" > out
    count = split(classes, names, " ")
    for (i = 1; i <= count; i++) {
        known[names[i]] = 1
        print "    ROUTE_" toupper(names[i]) "," > out
    }
    print "};\n\n// The class of an IPv4 address, given as a number of this machine." > out
    print "static inline __attribute__((always_inline)) enum route_class route_class_of(__u32 address)\n{" > out
}

/^#/ || /^$/ { next }

{
    if (NF != 2 || split($1, part, "/") != 2 || split(part[1], byte, ".") != 4)
        wrong("expected `a.b.c.d/length,class`")
    if (!($2 in known))
        wrong("unknown class `" $2 "`; known are " classes)
    if (part[2] !~ /^[0-9]+$/ || part[2] > 32)
        wrong("`" part[2] "` is no prefix length")
    network = 0
    for (i = 1; i <= 4; i++) {
        if (byte[i] !~ /^[0-9]+$/ || byte[i] > 255)
            wrong("`" part[1] "` is no IPv4 address")
        network = network * 256 + byte[i]
    }
    size = 2 ^ (32 - part[2])
    if (network % size)
        wrong("`" $1 "` has bits behind its prefix")
    printf "    if ((address & %.0fu) == %.0fu) // %s\n", 4294967296 - size, network, $1 > out
    print "        return ROUTE_" toupper($2) ";" > out
}

END {
    if (!failed)
        print "    return ROUTE_" toupper(names[1]) ";\n}" > out
}

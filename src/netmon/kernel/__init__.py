"""All that talks to the kernel: libbpf, the BPF objects, their maps and programs, and /proc."""

# The files beside these modules that are compiled from C.
FULL_OBJECT = "netmon.bpf.o"
# The BPF objects, by what they lack. Less code loads sooner.
OBJECTS = {
    frozenset[str](): FULL_OBJECT,
    frozenset({"options"}): "netmon-minimal.bpf.o",
    frozenset({"filters"}): "netmon-unfiltered.bpf.o",
    frozenset({"options", "filters"}): "netmon-minimal-unfiltered.bpf.o",
}
BUNDLED_LIBBPF = "libbpf-netmon.so"  # in the wheels made for a platform, and in the single-file executable

"""All that talks to the kernel: libbpf, the BPF objects, their maps and programs, and /proc."""

# The files beside these modules that are compiled from C.
FULL_OBJECT = "netmon.bpf.o"
MINIMAL_OBJECT = "netmon-minimal.bpf.o"  # what plain events need, and no more
BUNDLED_LIBBPF = "libbpf-netmon.so"  # in the wheels made for a platform, and in the single-file executable

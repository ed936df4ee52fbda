/* What elfutils' configure would find out, as far as libelf asks, on the systems that the wheels are for. */
#pragma once

#include <stdlib.h>

#define PACKAGE_NAME "elfutils"

#define HAVE_ERR_H 1
#define HAVE_DECL_MEMPCPY 1
#define HAVE_DECL_MEMRCHR 1
#define HAVE_DECL_POWEROF2 1
#define HAVE_DECL_RAWMEMCHR 0
/* In musl; in glibc from 2.26 on, which is newer than what the wheels ask for. */
#ifdef __GLIBC__
#define HAVE_DECL_REALLOCARRAY 0
#else
#define HAVE_DECL_REALLOCARRAY 1
#endif

/* As at the end of the one that configure writes. */
#include <eu-config.h>

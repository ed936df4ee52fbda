/* The results of elfutils' configure that libelf needs, for the systems that the wheels support. */
#pragma once

#include <stdlib.h>

#define PACKAGE_NAME "elfutils"

#define HAVE_ERR_H 1
#define HAVE_DECL_MEMPCPY 1
#define HAVE_DECL_MEMRCHR 1
#define HAVE_DECL_POWEROF2 1
#define HAVE_DECL_RAWMEMCHR 0
/* musl has it; glibc has it from 2.26 on, and the wheels support 2.17. */
#ifdef __GLIBC__
#define HAVE_DECL_REALLOCARRAY 0
#else
#define HAVE_DECL_REALLOCARRAY 1
#endif

/* configure ends its config.h with this line, too. */
#include <eu-config.h>

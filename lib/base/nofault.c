/* SPDX-License-Identifier: MIT */
/* Where a thread must not have a fault: see nofault.h. */
#include "nofault.h"

__thread unsigned int gpusvm_nofault __attribute__((tls_model("initial-exec")));

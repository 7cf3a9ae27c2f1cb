/* SPDX-License-Identifier: MIT */
/* The same table as C++ sees it. */
#include "layout.c"

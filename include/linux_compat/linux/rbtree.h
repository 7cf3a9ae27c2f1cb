/* SPDX-License-Identifier: MIT */
/* Roots and nodes of red-black trees; the trees are the library's to change. */
#ifndef GPUSVM_LINUX_RBTREE_H
#define GPUSVM_LINUX_RBTREE_H

#ifndef GPUSVM_LINUX_NAMES
#error "build with the flags of pkg-config libgpusvm-linux"
#endif

#include <gpusvm/kernel.h>

#define rb_entry(ptr, type, member) gpusvm_container_of(ptr, type, member)

#define RB_ROOT (struct rb_root){ NULL }
#define RB_ROOT_CACHED (struct rb_root_cached){ { NULL }, NULL }
#define RB_EMPTY_ROOT(root) (!(root)->rb_node)

#define rb_first_cached(root) ((root)->rb_leftmost)

#endif /* GPUSVM_LINUX_RBTREE_H */

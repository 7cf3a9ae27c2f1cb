/* SPDX-License-Identifier: MIT */
/*
 * Coherent device memory: the program's pages are moved to the device's node and
 * stay in its mapping.
 *
 * The kernel does all that is delicate: a thread that touches a page on the move
 * waits for it, and a page that somebody holds does not move.  So nothing is
 * trapped, staged or copied here.  The entries in the device page table say only
 * that the device has the pages: no data depends on them.  That may cease to be
 * the whole truth when the kernel allocates a page anew (after a fork, from swap)
 * or moves it by itself (NUMA balancing): it is still the program's page then,
 * and the device reaches it at the same address, but on another node.
 */
#ifndef GPUSVM_MM_IN_PLACE_H
#define GPUSVM_MM_IN_PLACE_H

struct migration;

/*
 * Have the pages at @start of the migration, which are entered in the table, there
 * and on the device's nodes; absent ones, too.  -ENOMEM if the nodes are full;
 * -EBUSY if a page is held or is not the program's alone.  On failure all are
 * where they were.
 */
int gpusvm_in_place_out(struct migration *m);

/*
 * Move the chosen pages where the program wants them, and drop the device's that
 * stand for them.  Returns how many; -ENOMEM if none came as there is no room.
 */
long gpusvm_in_place_home(struct migration *m);

#endif /* GPUSVM_MM_IN_PLACE_H */

/* SPDX-License-Identifier: MIT */
/* sigaction() with the library's own handler in front: gpusvm/hooks.h. */
#include <gpusvm/hooks.h>
#include <signal.h>

#include "front.h"
#include "sys.h"

int gpusvm_sigaction(int signum, const struct sigaction *action,
		     struct sigaction *old)
{
	struct sys_action new_action, old_action;
	int err = 0;

	if (action)
		gpusvm_sys_from_libc_action(action, &new_action);
	if (!gpusvm_front_exchange(signum, action ? &new_action : NULL,
				   &old_action))
		err = gpusvm_sys_sigaction(signum, action ? &new_action : NULL,
					   &old_action);
	if (!err && old)
		gpusvm_sys_to_libc_action(&old_action, old);
	return (int)gpusvm_sys_to_libc(err);
}

// Rows of the guest's side that starting and attaching share: a process joins, takes its ids, and gives up what it must not keep.
#pragma once

#include "monitor/context.h"

namespace caisson::guest {

bool has_user(const Context& c);
/// In a user namespace of its own, or in a joined one.
bool in_user(const Context& c);
bool has_cgroups(const Context& c);
bool filters_early(const Context& c);
bool filters_late(const Context& c);
bool notifies(const Context& c);
bool forbids_privileges(const Context& c);
bool has_labels(const Context& c);
bool has_landlock(const Context& c);
bool schedules_cores(const Context& c);

Status enter_cgroups(Context& c);
Status enter_idmap(Context& c);
Status renew_keyring(Context& c);
Status create_session(Context& c);
Status set_modes(Context& c);
Status bound_caps(Context& c);
Status set_ids(Context& c);
Status set_caps(Context& c);
Status forbid_privileges(Context& c);
Status load_filter(Context& c);
Status label_process(Context& c);
Status restrict_files(Context& c);

/// A host row: opens what label rows need, before anything of the container is entered.
Status prepare_labels(Context& c);
Status remove_labels(Context& c);

/// Resource limits, by prlimit(2), and files of /proc/PID: of init from outside, or (no init yet) of the caller.
Status set_rlimits(Context& c);
Status set_proc(Context& c);

}  // namespace caisson::guest

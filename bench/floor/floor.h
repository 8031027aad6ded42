// The pieces of the floor program; see floor.c. Nothing is undone on failure: the program says why, and ends.
#pragma once

void must(long result, const char* what);
void put(const char* directory, const char* name, const char* text);

/// Finds the mounted hierarchies, once: all, or those alone that a sandbox has.
void cgroups_find(int sandbox);
/// Makes a cgroup with limits in each; opens its door, through which a process enters.
void cgroups_make(void);
void cgroups_remove(void);
/// Opens the doors of another process's cgroups instead.
void cgroups_of(const char* pid);
/// v1: moves this process, which has one thread and so needs none of the kernel's global locks.
void cgroups_enter(void);
/// The v2 directory for CLONE_INTO_CGROUP, or -1.
int cgroups_unified(void);

/// Mounts, devices and pivot_root, in the container's own namespaces.
void root_make(const char* rootfs, int sandbox);
/// Reads the filter, once.
void filter_read(const char* path);
/// The first `kept` capabilities stay; no_new_privs; the filter.
void confine(int kept);
